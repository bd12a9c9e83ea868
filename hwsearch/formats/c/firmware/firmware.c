/* Runs an exported network on Arm's MPS2 and MPS3 boards, as QEMU emulates them, on tiles from a file of the host.
 *
 * Compile with -DNETWORK_HEADER="NAME.h", -DNETWORK_RUN=NAME_run, -DNETWORK_STEPS, -DNETWORK_INPUT_BYTES, -DNETWORK_OUTPUT_BYTES,
 * and -DFPGAIO, the address of the board's system block, whose COUNTER counts at a fixed rate; under QEMU's -icount an
 * instruction takes a fixed time.
 *
 * Reads tiles from input.bin until it ends. For each writes the output codes to output.bin, and to counts.bin the ticks of an
 * empty step and of every step, uint32_t.
 */
#include "firmware.h"

#define COUNTER (*(volatile uint32_t *)(FPGAIO + 0x18))
#define PRESCALE (*(volatile uint32_t *)(FPGAIO + 0x1c))
#define CPACR (*(volatile uint32_t *)0xe000ed88u)

/* Arm, "Semihosting for AArch32 and AArch64". */
enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };
enum { APPLICATION_EXIT = 0x20026, RUNTIME_ERROR = 0x20023 };

extern uint32_t stack_top;
void NETWORK_RUN(const void *input, void *output);
void reset(void);
void fault(void);

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};

static uint64_t input[(NETWORK_INPUT_BYTES + 7) / 8], output[(NETWORK_OUTPUT_BYTES + 7) / 8];
static uint32_t ticks[NETWORK_STEPS + 1], previous;

static int32_t semihosting(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return (int32_t)r0;
}

static void leave(uint32_t reason) {
    semihosting(SYS_EXIT, (const void *)reason);
    for (;;) {
    }
}

void fault(void) {
    leave(RUNTIME_ERROR);
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode) {
    const uint32_t block[3] = {(uint32_t)name, mode, length};
    const int32_t handle = semihosting(SYS_OPEN, block);
    if (handle < 0) {
        leave(RUNTIME_ERROR);
    }
    return (uint32_t)handle;
}

/* Both return how many bytes were not moved. */
static int32_t move(uint32_t operation, uint32_t file, const void *bytes, uint32_t count) {
    const uint32_t block[3] = {file, (uint32_t)bytes, count};
    return semihosting(operation, block);
}

void firmware_step(uint32_t index) {
    ticks[index + 1] = COUNTER - previous;
    previous = COUNTER;
}

void reset(void) {
    CPACR |= 0xfu << 20; /* floating point and Helium on */
    __asm__ volatile("dsb\n isb");
    PRESCALE = 0;
    const uint32_t in = open_file("input.bin", 9, READ_BINARY), out = open_file("output.bin", 10, WRITE_BINARY);
    const uint32_t counts = open_file("counts.bin", 10, WRITE_BINARY);
    while (move(SYS_READ, in, input, NETWORK_INPUT_BYTES) == 0) {
        firmware_step((uint32_t)-1);
        firmware_step((uint32_t)-1);
        NETWORK_RUN(input, output);
        if (move(SYS_WRITE, out, output, NETWORK_OUTPUT_BYTES) || move(SYS_WRITE, counts, ticks, sizeof ticks)) {
            leave(RUNTIME_ERROR);
        }
    }
    semihosting(SYS_CLOSE, &out);
    semihosting(SYS_CLOSE, &counts);
    leave(APPLICATION_EXIT);
}
