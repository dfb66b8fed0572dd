#ifndef S_H
#define S_H
#include "../h.h"
#define S 2
#endif
