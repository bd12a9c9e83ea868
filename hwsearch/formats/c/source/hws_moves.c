#include <string.h>

#include "hws.h"
#include "hws_requant.h"

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
        const int32_t code = hws_load(in, i, bytes);
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
                        hws_store(out, index++, hws_load(in, from, bytes), bytes);
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
                        hws_store(out, index++, hws_load(in, from, bytes), bytes);
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

void hws_resize(const hws_resize_layer *layer, const void *in, void *out) {
    const hws_resize_layer own = *layer;
    int32_t index = 0;
    for (int32_t y = 0; y < own.out_h; y++) {
        const float *row_weights = own.row_weights + y * own.row_taps;
        for (int32_t x = 0; x < own.out_w; x++) {
            const float *column_weights = own.column_weights + x * own.column_taps;
            for (int32_t c = 0; c < own.channels; c++) {
                float sum = 0;
                for (int32_t i = 0; i < own.row_taps; i++) {
                    int32_t at = ((own.rows[y] + i) * own.in_w + own.columns[x]) * own.channels + c;
                    float part = 0;
                    for (int32_t j = 0; j < own.column_taps; j++, at += own.channels) {
                        part += column_weights[j] * (float)(hws_load(in, at, own.in_bytes) - own.in_zero);
                    }
                    sum += row_weights[i] * part;
                }
                const float value = sum * own.in_scale;
                hws_store(out, index++, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
            }
        }
    }
}

void hws_clamp(void *codes, int32_t elements, int32_t low, int32_t high, int32_t bytes) {
    for (int32_t i = 0; i < elements; i++) {
        hws_store(codes, i, hws_bound(hws_load(codes, i, bytes), low, high), bytes);
    }
}

void hws_move(const hws_move_layer *layer, const void *in, void *out) {
    const int32_t bytes = layer->bytes, run = layer->run, inner = layer->axes - 1, last = layer->sizes[inner];
    const int32_t *last_offsets = layer->offsets;
    int32_t at[HWS_MAX_AXES] = {0}, rows = 1, index = 0;
    for (int32_t axis = 0; axis < inner; axis++) {
        rows *= layer->sizes[axis];
        last_offsets += layer->sizes[axis];
    }
    for (int32_t row = 0; row < rows; row++) {
        const int32_t *offsets = layer->offsets;
        int32_t start = layer->base, hole = 0;
        for (int32_t axis = 0; axis < inner; axis++) {
            const int32_t offset = offsets[at[axis]];
            hole |= offset < 0;
            start += offset;
            offsets += layer->sizes[axis];
        }
        for (int32_t i = 0; i < last; i++, index += run) {
            const int32_t offset = last_offsets[i];
            if (hole || offset < 0) {
                for (int32_t k = 0; k < run; k++) {
                    hws_store(out, index + k, layer->fill, bytes);
                }
            } else if (run > 1) {
                memcpy((uint8_t *)out + (size_t)(index * bytes), (const uint8_t *)in + (size_t)((start + offset) * bytes),
                       (size_t)(run * bytes));
            } else {
                hws_store(out, index, hws_load(in, start + offset, bytes), bytes);
            }
        }
        for (int32_t axis = inner - 1; axis >= 0 && ++at[axis] == layer->sizes[axis]; axis--) {
            at[axis] = 0;
        }
    }
}
