/* Asks a resolver at a fixed rate: dnsload SERVER NAME QUERIES_PER_SECOND SECONDS OUT
 *
 * Writes a 32-bit number for each query into OUT: microseconds until its answer with an address,
 * 0xffffffff where none came within a second after the last one was sent.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define IDS 65536

static double sent_at[IDS];
static uint32_t number_of[IDS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static size_t question(unsigned char *out, const char *name) {
    static const unsigned char head[12] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    unsigned char *at = out + sizeof head;
    memcpy(out, head, sizeof head);
    while (*name) {
        size_t length = strcspn(name, ".");
        *at++ = (unsigned char)length;
        memcpy(at, name, length);
        at += length;
        name += length + (name[length] == '.');
    }
    memcpy(at, "\0\0\1\0\1", 5);
    return (size_t)(at + 5 - out);
}

int main(int argc, char **argv) {
    if (argc != 6) return 2;
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    uint32_t total = (uint32_t)(rate * seconds), next = 0;
    uint32_t *took = malloc(total * sizeof *took);
    unsigned char query[512], answer[4096];
    size_t size = question(query, argv[2]);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(53)};
    int sock = socket(AF_INET, SOCK_DGRAM, 0), room = 1 << 20;
    /* What comes while this program waits for a core is not lost by the resolver. */
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (took == NULL || sock < 0 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) return 1;
    if (connect(sock, (struct sockaddr *)&server, sizeof server)) return perror("connect"), 1;
    memset(took, 0xff, total * sizeof *took);
    double begin = now(), end = begin + seconds + 1;
    for (double t = begin; t < end; t = now()) {
        while (next < total && begin + next / rate <= t) {
            uint16_t id = (uint16_t)next;
            memcpy(query, &id, 2);
            number_of[id] = next++;
            sent_at[id] = now();
            if (send(sock, query, size, 0) < 0) perror("send");
        }
        double wait = (next < total ? begin + next / rate : end) - now();
        struct timespec pause = {0, wait > 0 ? (long)(wait * 1e9) % 1000000000 : 0};
        struct pollfd ready = {sock, POLLIN, 0};
        if (ppoll(&ready, 1, &pause, NULL) <= 0) continue;
        ssize_t got;
        while ((got = recv(sock, answer, sizeof answer, MSG_DONTWAIT)) >= 12) {
            uint16_t id;
            memcpy(&id, answer, 2);
            if ((answer[3] & 15) == 0 && answer[7] > 0)
                took[number_of[id]] = (uint32_t)((now() - sent_at[id]) * 1e6);
        }
    }
    FILE *out = fopen(argv[5], "wb");
    if (out == NULL) return perror(argv[5]), 1;
    fwrite(took, sizeof *took, total, out);
    return fclose(out);
}
