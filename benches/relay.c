/*
 * The minimum cost of a client: connects standard input and output to a unix socket until one side
 * ends. `make bench` builds it as a static program, and starts it like pfxhttp-client. It does not
 * interpret the bytes that it passes on, and does not wait for a broker that is not available.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int pass(int from, int to)
{
    char bytes[4096];
    ssize_t got = read(from, bytes, sizeof bytes);

    for (ssize_t sent = 0, now; sent < got; sent += now)
        if ((now = write(to, bytes + sent, (size_t) (got - sent))) <= 0)
            return 0;
    return got > 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int broker = socket(AF_UNIX, SOCK_STREAM, 0);

    if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path)
        return 64;
    strcpy(address.sun_path, argv[1]);
    if (broker < 0 || connect(broker, (struct sockaddr *) &address, sizeof address) < 0)
        return 75;
    for (;;) {
        struct pollfd either[] = { { .fd = 0, .events = POLLIN }, { .fd = broker, .events = POLLIN } };

        if (poll(either, 2, -1) < 0)
            return 75;
        if (either[0].revents && !pass(0, broker))
            return 0;
        if (either[1].revents && !pass(broker, 1))
            return 0;
    }
}
