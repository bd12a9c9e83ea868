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

/* One code less its zero, as a real number. */
static inline float real(const void *in, int32_t at, int32_t bytes, int32_t zero) {
    return (float)(hws_load(in, at, bytes) - zero);
}

/* Every value of a row of the output from one row of the input, which begins at code `from`: real values less their scale.
 * `taps` is a literal where it is 2 or 4, which most interpolations have, and `bytes` always. */
static inline void interpolate_row(const hws_resize_layer *own, const void *in, int32_t from, int32_t taps, int32_t bytes, float *row) {
    const int32_t channels = own->channels, zero = own->in_zero;
    const float *w = own->column_weights;
    for (int32_t x = 0; x < own->out_w; x++, w += taps) {
        const int32_t first = from + own->columns[x] * channels;
        for (int32_t at = first; at < first + channels; at++) {
            float sum = w[0] * real(in, at, bytes, zero);
            if (taps == 2 || taps == 4) {
                sum += w[1] * real(in, at + channels, bytes, zero);
            }
            if (taps == 4) {
                sum += w[2] * real(in, at + 2 * channels, bytes, zero);
                sum += w[3] * real(in, at + 3 * channels, bytes, zero);
            }
            for (int32_t j = 1; taps != 2 && taps != 4 && j < taps; j++) {
                sum += w[j] * real(in, at + j * channels, bytes, zero);
            }
            *row++ = sum;
        }
    }
}

static void interpolate_columns(const hws_resize_layer *own, const void *in, int32_t from, float *row) {
    const int32_t taps = own->column_taps;
    if (own->in_bytes == 2) {
        taps == 4 ? interpolate_row(own, in, from, 4, 2, row) : interpolate_row(own, in, from, taps, 2, row);
    } else if (taps == 4) {
        interpolate_row(own, in, from, 4, 1, row);
    } else if (taps == 2) {
        interpolate_row(own, in, from, 2, 1, row);
    } else {
        interpolate_row(own, in, from, taps, 1, row);
    }
}

void hws_resize(const hws_resize_layer *layer, const void *in, void *out, float *scratch) {
    const hws_resize_layer own = *layer;
    const int32_t width = own.out_w * own.channels, taps = own.row_taps;
    int32_t index = 0, ready = 0;
    for (int32_t y = 0; y < own.out_h; y++) {
        const float *w = own.row_weights + y * taps, *part[4];
        const int32_t first = own.rows[y];
        for (ready = ready < first ? first : ready; ready < first + taps; ready++) {
            interpolate_columns(&own, in, ready * own.in_w * own.channels, scratch + ready % taps * width);
        }
        for (int32_t k = 0; k < 4; k++) {
            part[k] = scratch + (first + k) % taps * width;
        }
        for (int32_t i = 0; i < width; i++, index++) {
            float sum = w[0] * part[0][i];
            if (taps == 2) {
                sum += w[1] * part[1][i];
            } else if (taps == 4) {
                sum += w[1] * part[1][i];
                sum += w[2] * part[2][i];
                sum += w[3] * part[3][i];
            } else {
                for (int32_t k = 1; k < taps; k++) {
                    sum += w[k] * scratch[(first + k) % taps * width + i];
                }
            }
            const float value = sum * own.in_scale;
            hws_store(out, index, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

/* A code as TFLite's kernel has it: of the sign of int8, since halves are rounded away from zero. */
static inline int32_t signed_code(const uint8_t *in, int32_t at, const uint8_t *table) {
    return (table ? table[in[at]] : in[at]) - 128;
}

/* Every value of a row of the output from one row of the input, which begins at code `from`: in 1024ths of a code. */
static inline void blend_columns(const hws_bilinear_layer *own, const uint8_t *in, const uint8_t *table, int32_t *row) {
    const int32_t channels = own->channels, next = (own->column_taps - 1) * channels;
    for (int32_t x = 0; x < own->out_w; x++) {
        const int32_t first = own->columns[x] * channels, right = own->column_weights[x], left = 1024 - right;
        for (int32_t at = first; at < first + channels; at++) {
            *row++ = left * signed_code(in, at, table) + right * signed_code(in, at + next, table);
        }
    }
}

void hws_resize_bilinear(const hws_bilinear_layer *layer, const uint8_t *in, uint8_t *out, int32_t *scratch) {
    const hws_bilinear_layer own = *layer;
    const int32_t width = own.out_w * own.channels, half = 1 << 19;
    int32_t ready = 0;
    for (int32_t y = 0; y < own.out_h; y++) {
        const int32_t first = own.rows[y], second = first + own.row_taps - 1;
        for (ready = ready < first ? first : ready; ready <= second; ready++) {
            const uint8_t *from = in + ready * own.in_w * own.channels;
            int32_t *row = scratch + ready % own.row_taps * width;
            own.table ? blend_columns(&own, from, own.table, row) : blend_columns(&own, from, NULL, row);
        }
        const int32_t below = own.row_weights[y], above = 1024 - below;
        const int32_t *upper = scratch + first % own.row_taps * width, *lower = scratch + second % own.row_taps * width;
        for (int32_t i = 0; i < width; i++) {
            const int32_t total = above * upper[i] + below * lower[i];
            *out++ = (uint8_t)((total > 0 ? total + half : total - half) / (1 << 20) + 128);
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
