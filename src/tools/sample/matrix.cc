#include "sample.hpp"

#include <algorithm>
#include <numeric>

Matrix operator*(const Matrix &left, const Matrix &right)
{
    Matrix product(left.size(), std::vector<long>(right.front().size()));
    for (std::size_t row = 0; row < left.size(); ++row)
        for (std::size_t column = 0; column < right.front().size(); ++column)
            for (std::size_t inner = 0; inner < right.size(); ++inner)
                product[row][column] += left[row][inner] * right[inner][column];
    return product;
}

long trace(const Matrix &matrix)
{
    long sum = 0;
    for (std::size_t i = 0; i < std::min(matrix.size(), matrix.front().size()); ++i)
        sum += matrix[i][i];
    return sum;
}
