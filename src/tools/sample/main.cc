#include "sample.hpp"

#include <functional>
#include <iostream>
#include <stdexcept>

static void expect(bool good, const char *what)
{
    if (!good)
        throw std::runtime_error(std::string(what) + " is wrong");
}

int main()
{
    try {
        auto counts = count_words("the quick fox and the lazy dog and The end");
        expect(counts["the"] == 3 && counts["and"] == 2, "the number of words");
        const Matrix fibonacci{{1, 1}, {1, 0}};
        Matrix power = fibonacci;
        for (int i = 1; i < 10; ++i)
            power = power * fibonacci;
        expect(power[0][1] == 55 && trace(power) == 123, "the product");
        double area = 0;
        std::function<void(const Shape &)> add = [&](const Shape &shape) { area += shape.area(); };
        for (const auto &shape : some_shapes())
            add(*shape);
        expect(area == 42, "the area");
    } catch (const std::exception &error) {
        std::cerr << "sample-c++: " << error.what() << '\n';
        return 1;
    }
    std::cout << "sample-c++: works\n";
}
