static int unused(int p) { int q; return p; }
#define SYSTEM_NULL ((void *)0)
