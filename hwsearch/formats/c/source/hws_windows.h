/* Convolutions that read the picture where it lies: what an output pixel sees, and sums over that.
 *
 * hws_depthwise_pixel() makes the codes of all channels of a pixel, neighbouring channels side by side, as the target can.
 */
#ifndef HWS_WINDOWS_H
#define HWS_WINDOWS_H

#include "hws_requant.h"

/* The taps first .. end - 1 of a row or column of the kernel that lie inside the picture; tap 0 is at `start`. */
static inline void hws_taps_inside(int32_t start, int32_t dilation, int32_t taps, int32_t size, int32_t *first, int32_t *end) {
    *first = 0;
    *end = taps;
    while (*first < taps && start + *first * dilation < 0) {
        ++*first;
    }
    while (*end > *first && start + (*end - 1) * dilation >= size) {
        --*end;
    }
}

/* What output pixel (y, x) sees: taps inside the picture, and the element of the input where tap (0, 0) is. */
typedef struct {
    int32_t ky, ky_end, kx, kx_end, origin;
} hws_window;

static inline hws_window hws_window_at(const hws_conv_layer *layer, int32_t y, int32_t x) {
    const int32_t top = y * layer->stride_h - layer->pad_top, left = x * layer->stride_w - layer->pad_left;
    hws_window seen;
    hws_taps_inside(top, layer->dilation_h, layer->kernel_h, layer->in_h, &seen.ky, &seen.ky_end);
    hws_taps_inside(left, layer->dilation_w, layer->kernel_w, layer->in_w, &seen.kx, &seen.kx_end);
    seen.origin = (top * layer->in_w + left) * layer->in_c;
    return seen;
}

/* The sum over a window of in_c channels, starting with channel `first`, of 8-bit codes. */
static inline int32_t hws_window_sum(const hws_conv_layer *layer, hws_window seen, const uint8_t *in, int32_t first, int32_t in_c,
                                 const int8_t *weights) {
    const int32_t zero = layer->in_zero, column = layer->dilation_w * layer->in_c;
    int32_t sum = 0;
    for (int32_t ky = seen.ky; ky < seen.ky_end; ky++) {
        const int8_t *row = weights + (ky * layer->kernel_w + seen.kx) * in_c;
        const uint8_t *at = in + seen.origin + first + ky * layer->dilation_h * layer->in_w * layer->in_c + seen.kx * column;
        for (int32_t kx = seen.kx; kx < seen.kx_end; kx++, at += column) {
            for (int32_t i = 0; i < in_c; i++) {
                sum += (at[i] - zero) * *row++;
            }
        }
    }
    return sum;
}

/* The same of 16-bit codes. */
static inline int64_t hws_window_sum_wide(const hws_conv_layer *layer, hws_window seen, const uint16_t *in, int32_t first, int32_t in_c,
                                      const int8_t *weights) {
    const int32_t zero = layer->in_zero, column = layer->dilation_w * layer->in_c;
    int64_t sum = 0;
    for (int32_t ky = seen.ky; ky < seen.ky_end; ky++) {
        const int8_t *row = weights + (ky * layer->kernel_w + seen.kx) * in_c;
        const uint16_t *at = in + seen.origin + first + ky * layer->dilation_h * layer->in_w * layer->in_c + seen.kx * column;
        for (int32_t kx = seen.kx; kx < seen.kx_end; kx++, at += column) {
            for (int32_t i = 0; i < in_c; i++) {
                sum += (int64_t)(at[i] - zero) * *row++;
            }
        }
    }
    return sum;
}

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)

/* Up to four channels at once: those beyond the last are read as zeros and not written. */
static inline void hws_depthwise_pixel(const hws_conv_layer *layer, hws_window seen, const uint8_t *in, const int8_t *weights,
                                       uint8_t *out) {
    const int32_t k = layer->kernel_h * layer->kernel_w, column = layer->dilation_w * layer->in_c;
    const uint32x4_t apart = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)k);
    for (int32_t c = 0; c < layer->out_c; c += 4, weights += 4 * k) {
        const mve_pred16_t some = vctp32q((uint32_t)(layer->out_c - c));
        int32x4_t sum = vldrwq_z_s32(layer->bias + c, some);
        for (int32_t ky = seen.ky; ky < seen.ky_end; ky++) {
            const int8_t *row = weights + ky * layer->kernel_w + seen.kx;
            const uint8_t *at = in + seen.origin + c + ky * layer->dilation_h * layer->in_w * layer->in_c + seen.kx * column;
            for (int32_t kx = seen.kx; kx < seen.kx_end; kx++, at += column, row++) {
                const int32x4_t code = vsubq_n_s32(vreinterpretq_s32_u32(vldrbq_z_u32(at, some)), layer->in_zero);
                sum = vaddq_s32(sum, vmulq_s32(code, vldrbq_gather_offset_z_s32(row, apart, some)));
            }
        }
        int32x4_t code = hws_scale_channels(sum, layer->multiplier + c, layer->shift + c, some);
        if (layer->slope_multiplier) {
            const int32x4_t below = hws_scale_channels(sum, layer->slope_multiplier + c, layer->slope_shift + c, some);
            code = vpselq_s32(below, code, vcmpltq_n_s32(sum, 0));
        }
        code = vaddq_n_s32(code, layer->out_zero);
        code = vminq_s32(vmaxq_s32(code, vdupq_n_s32(layer->out_min)), vdupq_n_s32(layer->out_max));
        vstrbq_p_s32((int8_t *)out + c, code, some);
    }
}

#else

/* The code of channel c for a sum without its bias. */
static inline uint8_t hws_depthwise_code(const hws_conv_layer *layer, int32_t c, int32_t sum) {
    sum += layer->bias[c];
    const int below = sum < 0 && layer->slope_multiplier;
    const int32_t scaled = below ? hws_scale(sum, layer->slope_multiplier[c], layer->slope_shift[c])
                                 : hws_scale(sum, layer->multiplier[c], layer->shift[c]);
    const int32_t code = scaled + layer->out_zero;
    return (uint8_t)(code < layer->out_min ? layer->out_min : code > layer->out_max ? layer->out_max : code);
}

/* Four channels at once; the last four may overlap those before, and fewer than four are summed one after the other. */
static inline void hws_depthwise_pixel(const hws_conv_layer *layer, hws_window seen, const uint8_t *in, const int8_t *weights,
                                       uint8_t *out) {
    const int32_t k = layer->kernel_h * layer->kernel_w, column = layer->dilation_w * layer->in_c, zero = layer->in_zero;
    const int32_t last = layer->out_c - 4;
    if (last < 0) {
        for (int32_t c = 0; c < layer->out_c; c++) {
            out[c] = hws_depthwise_code(layer, c, hws_window_sum(layer, seen, in, c, 1, weights + c * k));
        }
        return;
    }
    for (int32_t start = 0; start < layer->out_c; start += 4) {
        const int32_t c = start < last ? start : last;
        int32_t sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
        for (int32_t ky = seen.ky; ky < seen.ky_end; ky++) {
            const int8_t *row = weights + c * k + ky * layer->kernel_w + seen.kx;
            const uint8_t *at = in + seen.origin + c + ky * layer->dilation_h * layer->in_w * layer->in_c + seen.kx * column;
            for (int32_t kx = seen.kx; kx < seen.kx_end; kx++, at += column, row++) {
                sum0 += (at[0] - zero) * row[0];
                sum1 += (at[1] - zero) * row[k];
                sum2 += (at[2] - zero) * row[2 * k];
                sum3 += (at[3] - zero) * row[3 * k];
            }
        }
        out[c] = hws_depthwise_code(layer, c, sum0);
        out[c + 1] = hws_depthwise_code(layer, c + 1, sum1);
        out[c + 2] = hws_depthwise_code(layer, c + 2, sum2);
        out[c + 3] = hws_depthwise_code(layer, c + 3, sum3);
    }
}

#endif

#endif
