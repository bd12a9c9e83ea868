#include <string.h>

#include "hws.h"
#include "hws_requant.h"

static int32_t load(const void *codes, int32_t index, int32_t bytes) {
    return bytes == 1 ? ((const uint8_t *)codes)[index] : ((const uint16_t *)codes)[index];
}

void hws_add(const hws_add_layer *layer, const void *a, const void *b, void *out, int32_t elements) {
    const hws_add_layer own = *layer; /* a copy, which writing to `out` cannot change */
    const int32_t one = (int32_t)1 << own.left_shift;
    for (int32_t i = 0; i < elements; i++) {
        const int32_t x = hws_scale((load(a, i, own.a_bytes) - own.a_zero) * one, own.a_multiplier, own.a_shift);
        const int32_t y = hws_scale((load(b, i, own.b_bytes) - own.b_zero) * one, own.b_multiplier, own.b_shift);
        const int32_t code = hws_scale(x + y, own.out_multiplier, own.out_shift) + own.out_zero;
        hws_store(out, i, code < own.out_min ? own.out_min : code > own.out_max ? own.out_max : code, own.out_bytes);
    }
}

void hws_copy_channels(const void *in, int32_t in_c, int32_t start, int32_t count, void *out, int32_t out_c, int32_t at,
                       int32_t pixels, int32_t bytes) {
    const uint8_t *from = (const uint8_t *)in + start * bytes;
    uint8_t *to = (uint8_t *)out + at * bytes;
    for (int32_t p = 0; p < pixels; p++, from += in_c * bytes, to += out_c * bytes) {
        memcpy(to, from, (size_t)(count * bytes));
    }
}

void hws_repeat(const void *in, void *out, int32_t pixels, int32_t channels, int32_t times, int32_t bytes) {
    int32_t index = 0;
    for (int32_t i = 0; i < pixels * channels; i++) {
        const int32_t code = load(in, i, bytes);
        for (int32_t t = 0; t < times; t++) {
            hws_store(out, index++, code, bytes);
        }
    }
}

void hws_pixel_shuffle(const void *in, void *out, int32_t h, int32_t w, int32_t out_c, int32_t factor, int32_t bytes) {
    int32_t index = 0;
    for (int32_t y = 0; y < h; y++) {
        for (int32_t dy = 0; dy < factor; dy++) {
            for (int32_t x = 0; x < w; x++) {
                for (int32_t dx = 0; dx < factor; dx++) {
                    for (int32_t c = 0; c < out_c; c++) {
                        const int32_t from = (((y * w + x) * out_c + c) * factor + dy) * factor + dx;
                        hws_store(out, index++, load(in, from, bytes), bytes);
                    }
                }
            }
        }
    }
}

void hws_pixel_unshuffle(const void *in, void *out, int32_t h, int32_t w, int32_t in_c, int32_t factor, int32_t bytes) {
    int32_t index = 0;
    for (int32_t y = 0; y < h; y++) {
        for (int32_t x = 0; x < w; x++) {
            for (int32_t c = 0; c < in_c; c++) {
                for (int32_t dy = 0; dy < factor; dy++) {
                    for (int32_t dx = 0; dx < factor; dx++) {
                        const int32_t from = ((y * factor + dy) * w * factor + x * factor + dx) * in_c + c;
                        hws_store(out, index++, load(in, from, bytes), bytes);
                    }
                }
            }
        }
    }
}

void hws_resize_nearest(const void *in, void *out, int32_t h, int32_t w, int32_t channels, int32_t factor, int32_t bytes) {
    const int32_t pixel = channels * bytes, row = w * factor * pixel;
    const uint8_t *from = in;
    uint8_t *to = out;
    for (int32_t y = 0; y < h; y++) {
        uint8_t *first = to;
        for (int32_t x = 0; x < w; x++, from += pixel) {
            for (int32_t dx = 0; dx < factor; dx++, to += pixel) {
                memcpy(to, from, (size_t)pixel);
            }
        }
        for (int32_t dy = 1; dy < factor; dy++, to += row) {
            memcpy(to, first, (size_t)row);
        }
    }
}

void hws_clamp(void *codes, int32_t elements, int32_t low, int32_t high, int32_t bytes) {
    for (int32_t i = 0; i < elements; i++) {
        hws_store(codes, i, hws_bound(load(codes, i, bytes), low, high), bytes);
    }
}

void hws_lookup(const uint8_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes) {
    for (int32_t i = 0; i < elements; i++) {
        hws_store(out, i, load(table, in[i], out_bytes), out_bytes);
    }
}
