.data
x: .long 1
