#include "sample.hpp"

#include <algorithm>

namespace {

struct Square : Shape {
    explicit Square(double side) : side(side) {}
    double area() const override { return side * side; }
    double side;
};

struct Rectangle : Shape {
    Rectangle(double width, double height) : width(width), height(height) {}
    double area() const override { return width * height; }
    double width, height;
};

}

std::vector<std::unique_ptr<Shape>> some_shapes()
{
    std::vector<std::unique_ptr<Shape>> shapes;
    for (int i = 1; i <= 3; ++i) {
        shapes.emplace_back(new Square(i));
        shapes.emplace_back(new Rectangle(i, 2 * i));
    }
    std::sort(shapes.begin(), shapes.end(), [](const std::unique_ptr<Shape> &a, const std::unique_ptr<Shape> &b) {
        return a->area() < b->area();
    });
    return shapes;
}
