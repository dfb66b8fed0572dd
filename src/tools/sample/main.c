#include "sample.h"
#include <stdio.h>
#include <string.h>

static int failures;

static void expect(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "sample-c: %s is wrong\n", what);
        failures++;
    }
}

int main(void)
{
    char text[16];
    int primes[200], numbers[100];
    uint64_t state = 42;

    expect(crc32_of("123456789", 9) == 0xcbf43926, "the checksum");
    base64_encode((const unsigned char *)"distcc", 6, text);
    expect(strcmp(text, "ZGlzdGNj") == 0, "base64");
    expect(primes_below(1000, primes) == 168, "the number of primes");
    for (int i = 0; i < 100; i++)
        numbers[i] = (int)(random_next(&state) % 1000);
    sort_numbers(numbers, 100);
    for (int i = 1; i < 100; i++)
        expect(numbers[i - 1] <= numbers[i], "the order");
    expect(life_after(100) == 5, "the glider");
    if (!failures)
        puts("sample-c: works");
    return failures != 0;
}
