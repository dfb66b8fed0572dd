# Builds and runs the sample where there is no make: sh build.sh CC [CXX].
set -eu
run() {
    echo "$*"
    "$@"
}
compile() {
    run "$@" &
    jobs="$jobs $!"
}
finish() {
    for job in $jobs; do wait "$job"; done
    jobs=
}
jobs=

for file in *.c; do compile "$1" -O2 -Wall -c "$file" -o "c-${file%.c}.o"; done
finish
run "$1" -o sample-c c-*.o
run ./sample-c

if [ $# -gt 1 ]; then
    for file in *.cc; do compile "$2" -O2 -Wall -std=c++11 -c "$file" -o "cc-${file%.cc}.o"; done
    finish
    run "$2" -o sample-c++ cc-*.o
    run ./sample-c++
fi
