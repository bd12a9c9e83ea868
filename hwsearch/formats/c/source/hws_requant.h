/* From accumulators to codes. Both rules are those of TensorFlow Lite for Microcontrollers and CMSIS-NN. */
#ifndef HWS_REQUANT_H
#define HWS_REQUANT_H

#include "hws.h"

/* Right shifts of negative numbers must be arithmetic, which C99 leaves to the compiler. */
typedef char hws_shifts_are_arithmetic[(-1 >> 1) == -1 ? 1 : -1];

/* x * multiplier / 2^31, rounded half up: the high half of the doubled product. */
static inline int32_t hws_multiply_high(int32_t x, int32_t multiplier) {
    return (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent, rounded half away from zero. */
static inline int32_t hws_divide_by_power(int32_t x, int32_t exponent) {
    const int32_t mask = (int32_t)(((uint32_t)1 << exponent) - 1);
    const int32_t threshold = (mask >> 1) + (x < 0);
    return (x >> exponent) + ((x & mask) > threshold);
}

/* Rule "gemmlowp": x * multiplier * 2^(shift - 31), rounded twice. */
static inline int32_t hws_scale(int32_t x, int32_t multiplier, int32_t shift) {
    if (shift > 0) {
        return hws_multiply_high(x * ((int32_t)1 << shift), multiplier);
    }
    return hws_divide_by_power(hws_multiply_high(x, multiplier), -shift);
}

/* Rule "i16": x * multiplier * 2^(shift - 15) with a multiplier of 15 bits, rounded once, half up. */
static inline int64_t hws_scale_wide(int64_t x, int32_t multiplier, int32_t shift) {
    return (x * multiplier + ((int64_t)1 << (14 - shift))) >> (15 - shift);
}

static inline int32_t hws_bound(int64_t x, int32_t low, int32_t high) {
    return x < low ? low : x > high ? high : (int32_t)x;
}

static inline void hws_store(void *out, int32_t index, int32_t code, int32_t bytes) {
    if (bytes == 1) {
        ((uint8_t *)out)[index] = (uint8_t)code;
    } else {
        ((uint16_t *)out)[index] = (uint16_t)code;
    }
}

/* In loops `bytes` is a literal, so that the test costs nothing. */
static inline int32_t hws_load(const void *codes, int32_t index, int32_t bytes) {
    return bytes == 1 ? ((const uint8_t *)codes)[index] : ((const uint16_t *)codes)[index];
}

/* x / 2^exponent of 64 bits, rounded half away from zero. */
static inline int64_t hws_divide_long(int64_t x, int32_t exponent) {
    const int64_t mask = ((int64_t)1 << exponent) - 1;
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));
}

/* hws_scale() for sums that outgrow 32 bits when they are moved up. */
static inline int64_t hws_scale_long(int64_t x, int32_t multiplier, int32_t shift) {
    const int64_t up = shift > 0 ? x * ((int64_t)1 << shift) : x;
    const int64_t high = (up * multiplier + ((int64_t)1 << 30)) >> 31;
    return shift > 0 ? high : hws_divide_long(high, -shift);
}

/* The same for numbers of at most 17 bits, which keep within 32 bits wherever the sum that they become does. */
static inline int64_t hws_scale_short(int32_t x, int32_t multiplier, int32_t shift) {
    return shift >= -31 && shift <= 15 ? hws_scale(x, multiplier, shift) : hws_scale_long(x, multiplier, shift);
}

/* The code nearest to a real value, of two the even one. A number below 2^22 that is added to 1.5 * 2^23 loses its fraction; what
 * is larger lies beyond every bound. */
static inline int32_t hws_nearest(float value, float scale, int32_t zero, int32_t low, int32_t high) {
    const float farthest = 4194303.0f, whole = 12582912.0f, steps = value / scale;
    const float moved = (steps < -farthest ? -farthest : steps > farthest ? farthest : steps) + whole;
    const int32_t code = (int32_t)(moved - whole) + zero;
    return code < low ? low : code > high ? high : code;
}

/* Likewise with halves away from zero: the largest number below a half is added, and truncation does the rest. */
static inline int32_t hws_nearest_away(float value, float scale, int32_t zero, int32_t low, int32_t high) {
    const float farthest = 4194303.0f, below_half = 0.49999997f, steps = value / scale;
    const float moved = steps < 0.0f ? (steps < -farthest ? -farthest : steps) - below_half
                                     : (steps > farthest ? farthest : steps) + below_half;
    const int32_t code = (int32_t)moved + zero;
    return code < low ? low : code > high ? high : code;
}

/* A table of 513 places at a number of 16 bits. */
static inline int32_t hws_interpolated(const int16_t *table, int64_t place) {
    const int32_t at = place < INT16_MIN ? INT16_MIN : place > INT16_MAX ? INT16_MAX : (int32_t)place;
    const int32_t index = (at >> 7) + 256, slope = (int16_t)(table[index + 1] - table[index]);
    return (int16_t)(table[index] + ((slope * (at & 127) + 64) >> 7));
}

/* The code for a sum of output channel c, bias included. */
static inline int32_t hws_code(const hws_conv_layer *layer, int32_t c, int64_t sum) {
    const int below = sum < 0 && layer->slope_multiplier;
    const int32_t multiplier = below ? layer->slope_multiplier[c] : layer->multiplier[c];
    const int32_t shift = below ? layer->slope_shift[c] : layer->shift[c];
    const int64_t scaled = layer->in_bytes == 1 && layer->out_bytes == 1 ? hws_scale((int32_t)sum, multiplier, shift)
                                                                         : hws_scale_wide(sum, multiplier, shift);
    return hws_bound(scaled + layer->out_zero, layer->out_min, layer->out_max);
}

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)

#include <arm_mve.h>

/* hws_scale() of four numbers. */
static inline int32x4_t hws_scale_four(int32x4_t x, int32_t multiplier, int32_t shift) {
    x = vqrdmulhq_n_s32(vshlq_r_s32(x, shift > 0 ? shift : 0), multiplier);
    if (shift < 0) {
        /* The instruction rounds half up; one less, and negative numbers are rounded half away from zero. */
        x = vrshlq_n_s32(vaddq_s32(x, vshrq_n_s32(x, 31)), shift);
    }
    return x;
}

/* hws_scale() of four numbers by factors of their own, where `some` are; others are not to be used. */
static inline int32x4_t hws_scale_channels(int32x4_t x, const int32_t *multiplier, const int8_t *shift, mve_pred16_t some) {
    const int32x4_t by = vldrbq_z_s32(shift, some), zero = vdupq_n_s32(0), right = vminq_s32(by, zero);
    x = vqrdmulhq_s32(vshlq_s32(x, vmaxq_s32(by, zero)), vldrwq_z_s32(multiplier, some));
    return vrshlq_s32(vaddq_m_s32(x, x, vshrq_n_s32(x, 31), vcmpltq_n_s32(right, 0)), right);
}

/* Channel c of up to four pixels: from dot products to 8-bit codes, which lie out_c apart from `out`. */
static inline void hws_store_pixels(const hws_conv_layer *layer, int32_t c, const int32_t *dots, int32_t pixels, uint8_t *out) {
    const int32x4_t sum = vaddq_n_s32(vld1q_s32(dots), layer->bias[c]);
    int32x4_t code = hws_scale_four(sum, layer->multiplier[c], layer->shift[c]);
    if (layer->slope_multiplier) {
        const int32x4_t below = hws_scale_four(sum, layer->slope_multiplier[c], layer->slope_shift[c]);
        code = vpselq_s32(below, code, vcmpltq_n_s32(sum, 0));
    }
    code = vaddq_n_s32(code, layer->out_zero);
    code = vminq_s32(vmaxq_s32(code, vdupq_n_s32(layer->out_min)), vdupq_n_s32(layer->out_max));
    const uint32x4_t offsets = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)layer->out_c);
    vstrbq_scatter_offset_p_s32((int8_t *)out, offsets, code, vctp32q((uint32_t)pixels));
}

#else

static inline void hws_store_pixels(const hws_conv_layer *layer, int32_t c, const int32_t *dots, int32_t pixels, uint8_t *out) {
    const int32_t bias = layer->bias[c];
    for (int32_t p = 0; p < pixels; p++, out += layer->out_c) {
        const int32_t sum = dots[p] + bias;
        const int below = sum < 0 && layer->slope_multiplier;
        const int32_t scaled = below ? hws_scale(sum, layer->slope_multiplier[c], layer->slope_shift[c])
                                     : hws_scale(sum, layer->multiplier[c], layer->shift[c]);
        const int32_t code = scaled + layer->out_zero;
        *out = (uint8_t)(code < layer->out_min ? layer->out_min : code > layer->out_max ? layer->out_max : code);
    }
}

#endif

#endif
