/* What a path between two network namespaces carries.
 *
 *   netload serve PORT                      until it is killed
 *   netload tcp|udp|rr HOST PORT SECONDS    prints Mbit/s that arrived, or round trips per second
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 131072
#define DATAGRAM 1400

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* The first byte says what it is: 's' and data until its end, answered by the number of bytes;
 * 'r' and single bytes, each sent back. */
static void *serve_one(void *given) {
    int sock = (int)(intptr_t)given, one = 1;
    static _Thread_local char data[CHUNK];
    char kind;
    uint64_t total = 0;
    ssize_t got;
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (recv(sock, &kind, 1, 0) == 1) {
        while ((got = recv(sock, data, sizeof data, 0)) > 0) {
            total += (uint64_t)got;
            if (kind == 'r' && send(sock, data, (size_t)got, 0) != got) break;
        }
        if (kind == 's' && send(sock, &total, sizeof total, 0) < 0) perror("send");
    }
    close(sock);
    return NULL;
}

/* Counts; a datagram of one byte is a question for the count, which begins anew. */
static void *serve_udp(void *given) {
    int sock = (int)(intptr_t)given;
    static char data[65536];
    struct sockaddr_storage from;
    uint64_t total = 0;
    for (;;) {
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(sock, data, sizeof data, 0, (struct sockaddr *)&from, &length);
        if (got == 1) {
            sendto(sock, &total, sizeof total, 0, (struct sockaddr *)&from, length);
            total = 0;
        } else if (got > 0) {
            total += (uint64_t)got;
        }
    }
    return NULL;
}

static int opened(int kind) {
    int sock = socket(AF_INET, kind, 0), one = 1;
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return sock;
}

static int serve(struct sockaddr_in *at) {
    int tcp = opened(SOCK_STREAM), udp = opened(SOCK_DGRAM);
    pthread_t thread;
    at->sin_addr.s_addr = INADDR_ANY;
    if (bind(tcp, (struct sockaddr *)at, sizeof *at) || listen(tcp, 16) ||
        bind(udp, (struct sockaddr *)at, sizeof *at)) {
        perror("netload");
        return 1;
    }
    pthread_create(&thread, NULL, serve_udp, (void *)(intptr_t)udp);
    for (;;) {
        int sock = accept(tcp, NULL, NULL);
        if (sock >= 0) pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)sock);
    }
}

static double stream(int sock, double seconds) {
    static char data[CHUNK];
    uint64_t total = 0;
    double begin = now();
    send(sock, "s", 1, 0);
    while (now() < begin + seconds)
        if (send(sock, data, sizeof data, 0) < 0) return 0;
    shutdown(sock, SHUT_WR);
    if (recv(sock, &total, sizeof total, MSG_WAITALL) != sizeof total) return 0;
    return (double)total * 8 / 1e6 / (now() - begin);
}

static double datagrams(int sock, double seconds) {
    static char data[DATAGRAM];
    uint64_t total = 0;
    double begin = now(), end = begin + seconds;
    while (now() < end)
        for (int n = 0; n < 64; n++) send(sock, data, sizeof data, 0);
    end = now();
    for (int tries = 0; tries < 20; tries++) {
        struct pollfd ready = {sock, POLLIN, 0};
        send(sock, "?", 1, 0);
        if (poll(&ready, 1, 500) == 1 && recv(sock, &total, sizeof total, 0) == sizeof total) break;
    }
    return (double)total * 8 / 1e6 / (end - begin);
}

static double round_trips(int sock, double seconds) {
    char byte = 'x';
    double begin = now();
    uint64_t count = 0;
    send(sock, "r", 1, 0);
    for (; now() < begin + seconds; count++)
        if (send(sock, &byte, 1, 0) != 1 || recv(sock, &byte, 1, 0) != 1) return 0;
    return (double)count / (now() - begin);
}

int main(int argc, char **argv) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    int one = 1;
    if (argc == 3 && strcmp(argv[1], "serve") == 0) {
        at.sin_port = htons((uint16_t)atoi(argv[2]));
        return serve(&at);
    }
    if (argc != 5 || inet_pton(AF_INET, argv[2], &at.sin_addr) != 1) return 2;
    int is_udp = strcmp(argv[1], "udp") == 0;
    int sock = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    at.sin_port = htons((uint16_t)atoi(argv[3]));
    if (connect(sock, (struct sockaddr *)&at, sizeof at)) return perror("connect"), 1;
    if (!is_udp) setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    double seconds = atof(argv[4]);
    printf("%.1f\n", is_udp ? datagrams(sock, seconds)
                     : argv[1][0] == 'r' ? round_trips(sock, seconds) : stream(sock, seconds));
    return 0;
}
