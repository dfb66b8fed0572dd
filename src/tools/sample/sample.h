/* What the parts of the C sample offer one another. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_of(const void *data, size_t length);
size_t base64_encode(const unsigned char *data, size_t length, char *text);
void sort_numbers(int *numbers, size_t count);
size_t primes_below(int limit, int *primes);
uint64_t random_next(uint64_t *state);
int life_after(int generations);

#endif
