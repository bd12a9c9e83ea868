#include "hws.h"

#include <string.h>

#include "hws_dots.h"
#include "hws_requant.h"
#include "hws_windows.h"

typedef char hws_pixels_fit[HWS_PIXELS <= HWS_MAX_PIXELS ? 1 : -1];

/* Signed fields of 2 to 7 bits, least significant bit first, to bytes. */
static void unpack(const uint8_t *packed, int32_t bits, int32_t count, int8_t *out) {
    const uint32_t sign = 1u << (bits - 1), mask = (sign << 1) - 1;
    uint32_t buffer = 0;
    int32_t held = 0;
    while (count-- > 0) {
        if (held < bits) {
            buffer |= (uint32_t)*packed++ << held;
            held += 8;
        }
        *out++ = (int8_t)((int32_t)((buffer & mask) ^ sign) - (int32_t)sign);
        buffer >>= bits;
        held -= bits;
    }
}

/* The weights of a layer, one byte each, k of them per output channel: where they lie, or unpacked to scratch. */
static const int8_t *weights_of(const hws_conv_layer *layer, int32_t k, uint8_t *scratch) {
    if (layer->weight_bits == 8) {
        return (const int8_t *)layer->weights;
    }
    const int32_t row_bytes = (k * layer->weight_bits + 7) / 8;
    for (int32_t c = 0; c < layer->out_c; c++) {
        unpack(layer->weights + c * row_bytes, layer->weight_bits, k, (int8_t *)scratch + c * k);
    }
    return (const int8_t *)scratch;
}

static void fill(uint8_t *codes, int32_t count, int32_t code, int32_t bytes) {
    if (bytes == 1) {
        memset(codes, code, (size_t)count);
    } else {
        for (int32_t i = 0; i < count; i++) {
            ((uint16_t *)codes)[i] = (uint16_t)code;
        }
    }
}

/* What output pixel (y, x) sees, in the order of the weights; in_zero beyond the border. */
static void gather(const hws_conv_layer *layer, const uint8_t *in, int32_t y, int32_t x, uint8_t *patch) {
    const int32_t bytes = layer->in_bytes, zero = layer->in_zero, channels = layer->in_c;
    const int32_t pixel_bytes = channels * bytes, row_bytes = layer->kernel_w * pixel_bytes;
    const int32_t left = x * layer->stride_w - layer->pad_left;
    for (int32_t ky = 0; ky < layer->kernel_h; ky++, patch += row_bytes) {
        const int32_t iy = y * layer->stride_h - layer->pad_top + ky * layer->dilation_h;
        if (iy < 0 || iy >= layer->in_h) {
            fill(patch, layer->kernel_w * channels, zero, bytes);
            continue;
        }
        const uint8_t *row = in + iy * layer->in_w * pixel_bytes;
        if (left >= 0 && left + layer->kernel_w <= layer->in_w && layer->dilation_w == 1) {
            memcpy(patch, row + left * pixel_bytes, (size_t)row_bytes);
            continue;
        }
        for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
            const int32_t ix = left + kx * layer->dilation_w;
            if (ix < 0 || ix >= layer->in_w) {
                fill(patch + kx * pixel_bytes, channels, zero, bytes);
            } else {
                memcpy(patch + kx * pixel_bytes, row + ix * pixel_bytes, (size_t)pixel_bytes);
            }
        }
    }
}

/* All output channels of `pixels` pixels whose patches lie behind each other. */
static void multiply(const hws_conv_layer *layer, const uint8_t *patch, const int8_t *row, int32_t k, int32_t pixels, void *out,
                     int32_t first) {
    uint32_t sums[HWS_PIXELS];
    int32_t dots[HWS_CHANNELS][HWS_PIXELS];
    hws_patch_sums(patch, k, sums);
    for (int32_t c = 0; c < layer->out_c; c += HWS_CHANNELS, row += HWS_CHANNELS * k) {
        const int32_t channels = layer->out_c - c < HWS_CHANNELS ? 1 : HWS_CHANNELS;
        hws_dots(patch, sums, row, channels == 1 ? 0 : k, k, dots);
        for (int32_t i = 0; i < channels; i++) {
            if (layer->out_bytes == 1) {
                hws_store_pixels(layer, c + i, dots[i], pixels, (uint8_t *)out + first + c + i);
                continue;
            }
            for (int32_t p = 0; p < pixels; p++) {
                ((uint16_t *)out)[first + p * layer->out_c + c + i] = (uint16_t)hws_code(layer, c + i, dots[i][p] + layer->bias[c + i]);
            }
        }
    }
}

/* As multiply(), for 16-bit codes and exactly two patches. */
static void multiply_wide(const hws_conv_layer *layer, const uint16_t *patch, const int8_t *row, int32_t k, int32_t pixels,
                          void *out, int32_t first) {
    for (int32_t c = 0; c < layer->out_c; c += 2, row += 2 * k) {
        const int32_t channels = layer->out_c - c < 2 ? 1 : 2, pitch = channels == 1 ? 0 : k;
        int64_t dots[2][2] = {{0, 0}, {0, 0}};
        /* 256 products of 16-bit codes and weights of at most 127 fit 32 bits. */
        for (int32_t start = 0; start < k; start += 256) {
            const int32_t end = k - start < 256 ? k : start + 256;
            int32_t dot00 = 0, dot01 = 0, dot10 = 0, dot11 = 0;
            for (int32_t i = start; i < end; i++) {
                const int32_t p0 = patch[i], p1 = patch[k + i], w0 = row[i], w1 = row[pitch + i];
                dot00 += p0 * w0;
                dot01 += p1 * w0;
                dot10 += p0 * w1;
                dot11 += p1 * w1;
            }
            dots[0][0] += dot00;
            dots[0][1] += dot01;
            dots[1][0] += dot10;
            dots[1][1] += dot11;
        }
        for (int32_t i = 0; i < channels; i++) {
            for (int32_t p = 0; p < pixels; p++) {
                const int64_t sum = dots[i][p] + layer->wide_bias[c + i];
                hws_store(out, first + p * layer->out_c + c + i, hws_code(layer, c + i, sum), layer->out_bytes);
            }
        }
    }
}

/* Pixels whose outputs are computed together. */
static int32_t block_of(const hws_conv_layer *layer) {
    return layer->in_bytes == 1 ? HWS_PIXELS : 2;
}

void hws_conv(const hws_conv_layer *layer, const void *in, void *out, uint8_t *scratch) {
    const int32_t k = layer->kernel_h * layer->kernel_w * layer->in_c, total = layer->out_h * layer->out_w;
    const int32_t block = block_of(layer), patch_bytes = k * layer->in_bytes;
    const int pointwise = layer->kernel_h * layer->kernel_w * layer->stride_h * layer->stride_w == 1 &&
                          layer->out_h == layer->in_h && layer->out_w == layer->in_w;
    const int8_t *weights = weights_of(layer, k, scratch + HWS_MAX_PIXELS * patch_bytes);
    int32_t y = 0, x = 0;
    for (int32_t done = 0; done < total; done += block) {
        const int32_t pixels = total - done < block ? total - done : block;
        const uint8_t *patch = scratch;
        if (pointwise && pixels == block) {
            patch = (const uint8_t *)in + done * patch_bytes;
        } else if (pointwise) {
            memcpy(scratch, (const uint8_t *)in + done * patch_bytes, (size_t)(pixels * patch_bytes));
        } else {
            for (int32_t p = 0; p < pixels; p++) {
                gather(layer, in, y, x, scratch + p * patch_bytes);
                if (++x == layer->out_w) {
                    x = 0;
                    y++;
                }
            }
        }
        if (layer->in_bytes == 1) {
            multiply(layer, patch, weights, k, pixels, out, done * layer->out_c);
        } else {
            multiply_wide(layer, (const uint16_t *)(const void *)patch, weights, k, pixels, out, done * layer->out_c);
        }
    }
}

/* A depthwise layer of 8-bit codes. */
static void depthwise(const hws_conv_layer *layer, const uint8_t *in, uint8_t *out, const int8_t *weights) {
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++, out += layer->out_c) {
            hws_depthwise_pixel(layer, hws_window_at(layer, y, x), in, weights, out);
        }
    }
}

void hws_conv_direct(const hws_conv_layer *layer, const void *in, void *out, uint8_t *scratch) {
    const int32_t in_c = layer->in_c / layer->groups, per_group = layer->out_c / layer->groups;
    const int32_t k = layer->kernel_h * layer->kernel_w * in_c;
    const int8_t *weights = weights_of(layer, k, scratch);
    if (in_c == 1 && per_group == 1 && layer->in_bytes == 1 && layer->out_bytes == 1) {
        depthwise(layer, in, out, weights);
        return;
    }
    int32_t index = 0;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const hws_window seen = hws_window_at(layer, y, x);
            for (int32_t c = 0, group = 0, rest = per_group; c < layer->out_c; c++, index++) {
                const int32_t first = group * in_c;
                const int64_t sum = layer->in_bytes == 1
                                        ? layer->bias[c] + hws_window_sum(layer, seen, in, first, in_c, weights + c * k)
                                        : layer->wide_bias[c] + hws_window_sum_wide(layer, seen, in, first, in_c, weights + c * k);
                hws_store(out, index, hws_code(layer, c, sum), layer->out_bytes);
                if (--rest == 0) {
                    group++;
                    rest = per_group;
                }
            }
        }
    }
}
