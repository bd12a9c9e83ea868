/* Included before the exported network: stores the instruction counter behind every step. */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdint.h>

void firmware_step(uint32_t index);
#define HWS_STEP(index) firmware_step(index);

#endif
