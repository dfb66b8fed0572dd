/* A compiler that costs as good as nothing. With -E it writes the file that FAKE_TEXT names to stdout; else it writes a
 * small file as the object. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *output = "a.out", *text = getenv("FAKE_TEXT");
    int preprocess = 0, fd;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-E"))
            preprocess = 1;
        else if (!strcmp(argv[i], "-o") && i + 1 < argc)
            output = argv[++i];
    }
    if (preprocess && text) {
        struct stat st;
        off_t at = 0;
        if ((fd = open(text, O_RDONLY)) < 0 || fstat(fd, &st))
            return 1;
        while (at < st.st_size)
            if (sendfile(1, fd, &at, (size_t)(st.st_size - at)) <= 0)
                return 1;
        return 0;
    }
    fd = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return fd < 0 || write(fd, "object\n", 7) != 7;
}
