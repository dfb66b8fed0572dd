#define V 1
.data
x: .long V
