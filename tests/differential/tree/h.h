#pragma once
#define V 1
#define F __FILE__
static inline int i(int z) { return z; }
