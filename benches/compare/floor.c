/* What no client can do without: it is started, connects, sends a request with a text, receives the answer, and writes the
 * object. Arguments: port, file with the text, object to write. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char answer[1 << 20];

int main(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct stat st;
    char head[256];
    size_t got = 0;
    ssize_t count;
    off_t at = 0;
    int text, out, peer = socket(AF_INET, SOCK_STREAM, 0);
    if (argc < 4 || (text = open(argv[2], O_RDONLY)) < 0 || fstat(text, &st))
        return 1;
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(peer, (struct sockaddr *)&to, sizeof to))
        return 1;
    int length = snprintf(head, sizeof head, "DIST00000001ARGC00000003ARGV00000003gccARGV00000002-cARGV00000003x.cDOTI%08zx",
                          (size_t)st.st_size);
    if (send(peer, head, (size_t)length, MSG_MORE) != length)
        return 1;
    while (at < st.st_size)
        if (sendfile(peer, text, &at, (size_t)(st.st_size - at)) <= 0)
            return 1;
    while ((count = read(peer, answer + got, sizeof answer - got)) > 0)
        got += (size_t)count;
    /* DONE, STAT, SERR, SOUT, DOTO: all but the last without a body. */
    const size_t before = 5 * 12;
    if (got < before || memcmp(answer + 12, "STAT00000000", 12))
        return 1;
    out = open(argv[3], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    return out < 0 || write(out, answer + before, got - before) != (ssize_t)(got - before);
}
