#include "sample.h"

#define POLYNOMIAL UINT32_C(0xedb88320)

uint32_t crc32_of(const void *data, size_t length)
{
    const unsigned char *bytes = data;
    uint32_t crc = ~UINT32_C(0);
    while (length--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return ~crc;
}
