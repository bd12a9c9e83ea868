/* Dot products of unsigned patches and signed rows of weights: the multiply-accumulate loop of hws_conv.
 *
 * A target defines HWS_PIXELS (1 to HWS_MAX_PIXELS) and HWS_CHANNELS, and
 *
 *   hws_patch_sums(patch, k, sums)                       what the loop needs to know of each patch, computed once a patch
 *   hws_dots(patch, sums, row, row_pitch, k, dots)       dots[channel][pixel] for HWS_CHANNELS rows and HWS_PIXELS patches
 *
 * Patches lie behind each other, k bytes each; the second row of weights begins row_pitch bytes after the first.
 *
 *   hws_wide_dots(a, b, b_pitch, k, sums)                two dot products of 16-bit numbers, for products of 16-bit tensors
 */
#ifndef HWS_DOTS_H
#define HWS_DOTS_H

#include <stdint.h>
#include <string.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)

#include <arm_mve.h>

#define HWS_PIXELS 4
#define HWS_CHANNELS 1

/* Helium multiplies bytes of equal signedness: weights are shifted by 128, and 128 times the sum of the patch is taken off. */
static inline void hws_patch_sums(const uint8_t *patch, int32_t k, uint32_t *sums) {
    for (int32_t p = 0; p < HWS_PIXELS; p++, patch += k) {
        uint32_t sum = 0;
        for (int32_t i = 0; i < k; i += 16) {
            const mve_pred16_t some = vctp8q((uint32_t)(k - i));
            sum = vaddvaq_p_u8(sum, vldrbq_z_u8(patch + i, some), some);
        }
        sums[p] = sum << 7;
    }
}

static inline void hws_dots(const uint8_t *patch, const uint32_t *sums, const int8_t *row, int32_t row_pitch, int32_t k,
                            int32_t dots[HWS_CHANNELS][HWS_PIXELS]) {
    uint32_t dot0 = 0, dot1 = 0, dot2 = 0, dot3 = 0;
    const uint8_t *end = patch + (k & ~15);
    const uint8x16_t flip = vdupq_n_u8(128);
    (void)row_pitch;
    while (patch != end) {
        const uint8x16_t w = veorq_u8(vld1q_u8((const uint8_t *)row), flip);
        dot0 = vmladavaq_u8(dot0, vld1q_u8(patch), w);
        dot1 = vmladavaq_u8(dot1, vld1q_u8(patch + k), w);
        dot2 = vmladavaq_u8(dot2, vld1q_u8(patch + 2 * k), w);
        dot3 = vmladavaq_u8(dot3, vld1q_u8(patch + 3 * k), w);
        patch += 16;
        row += 16;
    }
    if (k & 15) {
        const mve_pred16_t some = vctp8q((uint32_t)(k & 15));
        const uint8x16_t w = veorq_x_u8(vldrbq_z_u8((const uint8_t *)row, some), flip, some);
        dot0 = vmladavaq_p_u8(dot0, vldrbq_z_u8(patch, some), w, some);
        dot1 = vmladavaq_p_u8(dot1, vldrbq_z_u8(patch + k, some), w, some);
        dot2 = vmladavaq_p_u8(dot2, vldrbq_z_u8(patch + 2 * k, some), w, some);
        dot3 = vmladavaq_p_u8(dot3, vldrbq_z_u8(patch + 3 * k, some), w, some);
    }
    dots[0][0] = (int32_t)(dot0 - sums[0]);
    dots[0][1] = (int32_t)(dot1 - sums[1]);
    dots[0][2] = (int32_t)(dot2 - sums[2]);
    dots[0][3] = (int32_t)(dot3 - sums[3]);
}

static inline void hws_wide_dots(const int16_t *a, const int16_t *b, int32_t b_pitch, int32_t k, int64_t sums[2]) {
    int64_t dot0 = 0, dot1 = 0;
    for (int32_t i = 0; i < k; i += 8) {
        const mve_pred16_t some = vctp16q((uint32_t)(k - i));
        const int16x8_t x = vldrhq_z_s16(a + i, some);
        dot0 = vmlaldavaq_s16(dot0, x, vldrhq_z_s16(b + i, some));
        dot1 = vmlaldavaq_s16(dot1, x, vldrhq_z_s16(b + b_pitch + i, some));
    }
    sums[0] = dot0;
    sums[1] = dot1;
}

#else

#define HWS_PIXELS 2
#define HWS_CHANNELS 2

static inline void hws_patch_sums(const uint8_t *patch, int32_t k, uint32_t *sums) {
    (void)patch;
    (void)k;
    (void)sums;
}

#if defined(__ARM_FEATURE_SIMD32)

#include <arm_acle.h>

static inline uint32_t hws_word(const void *bytes) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    return word;
}

/* Bytes 0 and 2 of a word, or 1 and 3, as a pair of 16 bits. Weights and patches are split alike, so their order is no matter.
 * The rotation is part of the instruction, which no intrinsic expresses. */
static inline int16x2_t hws_even_unsigned(uint32_t word) {
    return (int16x2_t)__uxtb16(word);
}

static inline int16x2_t hws_odd_unsigned(uint32_t word) {
    int16x2_t pair;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

static inline int16x2_t hws_even_signed(uint32_t word) {
    return __sxtb16(word);
}

static inline int16x2_t hws_odd_signed(uint32_t word) {
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
}

#endif

static inline void hws_dots(const uint8_t *patch, const uint32_t *sums, const int8_t *row, int32_t row_pitch, int32_t k,
                            int32_t dots[HWS_CHANNELS][HWS_PIXELS]) {
    int32_t dot00 = 0, dot01 = 0, dot10 = 0, dot11 = 0;
    const uint8_t *end = patch + k;
    (void)sums;
#if defined(__ARM_FEATURE_SIMD32)
    for (const uint8_t *words = patch + (k & ~3); patch != words; patch += 4, row += 4) {
        const uint32_t p0 = hws_word(patch), p1 = hws_word(patch + k), w0 = hws_word(row), w1 = hws_word(row + row_pitch);
        const int16x2_t p0_even = hws_even_unsigned(p0), p0_odd = hws_odd_unsigned(p0);
        const int16x2_t p1_even = hws_even_unsigned(p1), p1_odd = hws_odd_unsigned(p1);
        const int16x2_t w0_even = hws_even_signed(w0), w0_odd = hws_odd_signed(w0);
        const int16x2_t w1_even = hws_even_signed(w1), w1_odd = hws_odd_signed(w1);
        dot00 = __smlad(p0_odd, w0_odd, __smlad(p0_even, w0_even, dot00));
        dot01 = __smlad(p1_odd, w0_odd, __smlad(p1_even, w0_even, dot01));
        dot10 = __smlad(p0_odd, w1_odd, __smlad(p0_even, w1_even, dot10));
        dot11 = __smlad(p1_odd, w1_odd, __smlad(p1_even, w1_even, dot11));
    }
#endif
    for (; patch != end; patch++, row++) {
        const int32_t p0 = patch[0], p1 = patch[k], w0 = row[0], w1 = row[row_pitch];
        dot00 += p0 * w0;
        dot01 += p1 * w0;
        dot10 += p0 * w1;
        dot11 += p1 * w1;
    }
    dots[0][0] = dot00;
    dots[0][1] = dot01;
    dots[1][0] = dot10;
    dots[1][1] = dot11;
}

static inline void hws_wide_dots(const int16_t *a, const int16_t *b, int32_t b_pitch, int32_t k, int64_t sums[2]) {
    int64_t dot0 = 0, dot1 = 0;
    const int16_t *end = a + k;
#if defined(__ARM_FEATURE_SIMD32)
    for (const int16_t *words = a + (k & ~1); a != words; a += 2, b += 2) {
        const int16x2_t x = (int16x2_t)hws_word(a);
        dot0 = __smlald(x, (int16x2_t)hws_word(b), dot0);
        dot1 = __smlald(x, (int16x2_t)hws_word(b + b_pitch), dot1);
    }
#endif
    for (; a != end; a++, b++) {
        dot0 += (int32_t)*a * b[0];
        dot1 += (int32_t)*a * b[b_pitch];
    }
    sums[0] = dot0;
    sums[1] = dot1;
}

#endif

#endif
