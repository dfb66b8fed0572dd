#include "sample.h"
#include <stdlib.h>

static int by_value(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    return (a > b) - (a < b);
}

void sort_numbers(int *numbers, size_t count)
{
    qsort(numbers, count, sizeof *numbers, by_value);
}
