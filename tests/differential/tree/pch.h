int pch;
static inline int in_pch(void) { return 4; }
