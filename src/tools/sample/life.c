#include "sample.h"
#include <string.h>

enum { WIDTH = 32, HEIGHT = 32 };

static unsigned char field[HEIGHT][WIDTH], next[HEIGHT][WIDTH];

static int neighbours(int row, int column)
{
    int count = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++)
            if (dy || dx)
                count += field[(row + dy + HEIGHT) % HEIGHT][(column + dx + WIDTH) % WIDTH];
    return count;
}

int life_after(int generations)
{
    static const char glider[3][4] = { ".#.", "..#", "###" };
    int alive = 0;
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 3; column++)
            field[row][column] = glider[row][column] == '#';
    while (generations--) {
        for (int row = 0; row < HEIGHT; row++)
            for (int column = 0; column < WIDTH; column++) {
                int near = neighbours(row, column);
                next[row][column] = near == 3 || (near == 2 && field[row][column]);
            }
        memcpy(field, next, sizeof field);
    }
    for (int row = 0; row < HEIGHT; row++)
        for (int column = 0; column < WIDTH; column++)
            alive += field[row][column];
    return alive;
}
