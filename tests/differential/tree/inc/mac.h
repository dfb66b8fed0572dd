#define MAC 9
#undef V
#define V 7
