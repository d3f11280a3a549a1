/*
 * shaper LINK TAP RATE_BITS DELAY_US
 *
 * A slow cable, for kernels without sch_netem. It stands between LINK (this
 * machine's end of a node's veth pair, taken off its bridge) and TAP (made here,
 * put on the bridge instead), and carries frames both ways. Each way has its own
 * rate, in bits a second, and its own delay, in microseconds. A way whose frames
 * wait too long for their turn loses the newest, as a switch with a full buffer.
 *
 * Frames keep the virtio header that both ends use, so that a checksum which is
 * not computed yet stays somebody's task. Ends when LINK is gone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEADER_BYTES = 10,       /* struct virtio_net_hdr */
    FRAME_BYTES_MAX = 66000, /* a segment of 64 KiB and its headers */
    FRAMES_MAX = 20000,      /* in one way at once, the delayed ones included */
    TURN_FRAMES = 64,        /* taken from one way before looking at the other */
    QUEUE_BYTES = 64 * 1024, /* may wait for their turn, however slow the cable */
};
static const uint64_t SECOND = 1000000000;
static const uint64_t QUEUE_NS = 100 * 1000000; /* or this much time */
static const uint64_t RETRY_NS = 200 * 1000;    /* when an end takes no more */

struct frame {
    struct frame *next;
    uint64_t due;
    size_t bytes;
    unsigned char data[];
};

struct way {
    int from, to;
    uint64_t free_at; /* when the last frame taken has left the near end */
    struct frame *first, **last;
    unsigned frames;
    int blocked;
};

static unsigned link_index;
static uint64_t rate_bits, delay_ns, queue_ns;

static void fail(const char *what) {
    fprintf(stderr, "shaper: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static uint64_t sending_ns(size_t bytes) {
    return rate_bits ? (uint64_t)bytes * 8 * SECOND / rate_bits : 0;
}

static void enqueue(struct way *way, const unsigned char *data, size_t bytes) {
    uint64_t time = now();
    uint64_t start = way->free_at > time ? way->free_at : time;
    if (start - time > queue_ns || way->frames >= FRAMES_MAX)
        return;
    struct frame *frame = malloc(sizeof *frame + bytes);
    if (!frame)
        return;
    way->free_at = start + sending_ns(bytes - HEADER_BYTES);
    frame->next = NULL;
    frame->due = way->free_at + delay_ns;
    frame->bytes = bytes;
    memcpy(frame->data, data, bytes);
    *way->last = frame;
    way->last = &frame->next;
    way->frames++;
}

static void take_in(struct way *way) {
    static unsigned char data[HEADER_BYTES + FRAME_BYTES_MAX];
    for (int i = 0; i < TURN_FRAMES; i++) {
        ssize_t bytes = read(way->from, data, sizeof data);
        if (bytes > HEADER_BYTES) {
            enqueue(way, data, (size_t)bytes);
        } else if (bytes < 0) {
            char name[IF_NAMESIZE];
            if (errno == EAGAIN)
                return;
            if (errno == ENETDOWN && !if_indextoname(link_index, name))
                exit(0);
            if (errno != ENETDOWN && errno != EINTR && errno != EIO)
                fail("read");
        }
    }
}

static void let_out(struct way *way) {
    way->blocked = 0;
    while (way->first && way->first->due <= now()) {
        struct frame *frame = way->first;
        if (write(way->to, frame->data, frame->bytes) < 0 && errno == EAGAIN) {
            way->blocked = 1;
            return;
        }
        /* Any other failure loses the frame, as a cable that was just cut does. */
        way->first = frame->next;
        if (!way->first)
            way->last = &way->first;
        way->frames--;
        free(frame);
    }
}

static uint64_t wait_ns(const struct way *way, uint64_t time) {
    if (!way->first)
        return SECOND;
    if (way->blocked)
        return RETRY_NS;
    return way->first->due > time ? way->first->due - time : 0;
}

static int open_link(const char *name) {
    int on = 1, buffer = 16 << 20;
    int end = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
    if (end < 0)
        fail("packet socket");
    if (setsockopt(end, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) ||
        setsockopt(end, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on))
        fail("packet socket options");
    setsockopt(end, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
    setsockopt(end, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer);
    link_index = if_nametoindex(name);
    if (!link_index)
        fail(name);
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)link_index,
    };
    if (bind(end, (struct sockaddr *)&address, sizeof address))
        fail("bind");
    struct packet_mreq all = {.mr_ifindex = (int)link_index, .mr_type = PACKET_MR_PROMISC};
    if (setsockopt(end, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all))
        fail("promiscuous");
    return end;
}

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int end = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (end < 0)
        fail("/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (ioctl(end, TUNSETIFF, &request))
        fail(name);
    if (ioctl(end, TUNSETOFFLOAD, TUN_F_CSUM))
        fail("offload");
    return end;
}

int main(int count, char **args) {
    if (count != 5) {
        fprintf(stderr, "usage: shaper LINK TAP RATE_BITS DELAY_US\n");
        return 2;
    }
    rate_bits = strtoull(args[3], NULL, 10);
    delay_ns = strtoull(args[4], NULL, 10) * 1000;
    queue_ns = sending_ns(QUEUE_BYTES) > QUEUE_NS ? sending_ns(QUEUE_BYTES) : QUEUE_NS;
    prctl(PR_SET_TIMERSLACK, 1); /* wake when asked, not when it suits the kernel */

    int link = open_link(args[1]), tap = open_tap(args[2]);
    struct way out = {.from = link, .to = tap}, in = {.from = tap, .to = link};
    out.last = &out.first;
    in.last = &in.first;
    for (;;) {
        let_out(&out);
        let_out(&in);
        uint64_t time = now(), first = wait_ns(&out, time), second = wait_ns(&in, time);
        uint64_t wait = first < second ? first : second;
        struct timespec limit = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
        struct pollfd ends[2] = {{link, POLLIN, 0}, {tap, POLLIN, 0}};
        ppoll(ends, 2, &limit, NULL);
        take_in(&out);
        take_in(&in);
    }
}
