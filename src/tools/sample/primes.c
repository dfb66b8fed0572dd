#include "sample.h"
#include <stdlib.h>
#include <string.h>

size_t primes_below(int limit, int *primes)
{
    size_t count = 0;
    char *composite = calloc((size_t)limit, 1);
    if (!composite)
        abort();
    for (int n = 2; n < limit; n++) {
        if (composite[n])
            continue;
        primes[count++] = n;
        for (int multiple = 2 * n; multiple < limit; multiple += n)
            composite[multiple] = 1;
    }
    free(composite);
    return count;
}
