#define I 5
