// What the parts of the C++ sample offer one another.
#ifndef SAMPLE_HPP
#define SAMPLE_HPP

#include <map>
#include <memory>
#include <string>
#include <vector>

using Matrix = std::vector<std::vector<long>>;

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};

std::map<std::string, int> count_words(const std::string &text);
Matrix operator*(const Matrix &left, const Matrix &right);
long trace(const Matrix &matrix);
std::vector<std::unique_ptr<Shape>> some_shapes();

#endif
