#include "hws.h"

#include <string.h>

#include "hws_dots.h"
#include "hws_requant.h"

/* The columns of one b as rows of signed bytes, b - 128, and in `bias` what belongs to each: -a_zero * sum(b - b_zero). */
static void transpose(const hws_matmul_layer *layer, const uint8_t *b, int32_t *bias, int8_t *rows) {
    for (int32_t column = 0; column < layer->columns; column++, b += layer->b_column) {
        const uint8_t *from = b;
        int32_t sum = 0;
        for (int32_t k = 0; k < layer->depth; k++, from += layer->b_step) {
            sum += *from - layer->b_zero;
            *rows++ = (int8_t)(*from - 128);
        }
        bias[column] = -layer->a_zero * sum;
    }
}

/* Rows of one a, behind each other. */
static void gather(const hws_matmul_layer *layer, const uint8_t *a, int32_t rows, uint8_t *out) {
    for (int32_t row = 0; row < rows; row++, a += layer->a_row) {
        const uint8_t *from = a;
        for (int32_t k = 0; k < layer->depth; k++, from += layer->a_step) {
            *out++ = *from;
        }
    }
}

/* One product of two matrices of 8-bit codes: sum (a - a_zero)(b - b_zero) = dot(a, b - 128) + (128 - b_zero) sum(a) + bias. */
static void multiply(const hws_matmul_layer *layer, const uint8_t *a, const uint8_t *b, void *out, int32_t first, uint8_t *scratch) {
    const int32_t depth = layer->depth, columns = layer->columns, more = 128 - layer->b_zero;
    int32_t *bias = (int32_t *)(void *)scratch;
    uint8_t *patches = scratch + columns * 4;
    int8_t *transposed = (int8_t *)patches + HWS_MAX_PIXELS * depth;
    transpose(layer, b, bias, transposed);
    for (int32_t row = 0; row < layer->rows; row += HWS_PIXELS, a += HWS_PIXELS * layer->a_row) {
        const int32_t rows = layer->rows - row < HWS_PIXELS ? layer->rows - row : HWS_PIXELS;
        const uint8_t *patch = a;
        uint32_t sums[HWS_PIXELS];
        int32_t dots[HWS_CHANNELS][HWS_PIXELS], totals[HWS_PIXELS] = {0};
        if (rows < HWS_PIXELS || layer->a_step > 1) {
            gather(layer, a, rows, patches);
            patch = patches;
        }
        hws_patch_sums(patch, depth, sums);
        for (int32_t p = 0; more && p < rows; p++) {
            for (int32_t k = 0; k < depth; k++) {
                totals[p] += patch[p * depth + k];
            }
        }
        for (int32_t column = 0; column < columns; column += HWS_CHANNELS) {
            const int32_t channels = columns - column < HWS_CHANNELS ? 1 : HWS_CHANNELS;
            hws_dots(patch, sums, transposed + column * depth, channels == 1 ? 0 : depth, depth, dots);
            for (int32_t i = 0; i < channels; i++) {
                for (int32_t p = 0; p < rows; p++) {
                    const int32_t sum = dots[i][p] + more * totals[p] + bias[column + i];
                    const int32_t code = hws_scale(sum, layer->multiplier, layer->shift) + layer->out_zero;
                    hws_store(out, first + (row + p) * columns + column + i, hws_bound(code, layer->out_min, layer->out_max),
                              layer->out_bytes);
                }
            }
        }
    }
}

/* `count` codes less their zero as 16-bit numbers, `step` codes apart. */
static inline void widen(const void *codes, int32_t at, int32_t step, int32_t count, int32_t bytes, int32_t zero, int16_t *out) {
    for (int32_t k = 0; k < count; k++, at += step) {
        *out++ = (int16_t)(hws_load(codes, at, bytes) - zero);
    }
}

static void widen_vector(const void *codes, int32_t at, int32_t step, int32_t count, int32_t bytes, int32_t zero, int16_t *out) {
    if (bytes == 1) {
        widen(codes, at, step, count, 1, zero, out);
    } else {
        widen(codes, at, step, count, 2, zero, out);
    }
}

/* The same where a tensor has 16 bits. scratch: one row of a, then the columns of b. */
static void multiply_wide(const hws_matmul_layer *layer, const void *a, int32_t first_a, const void *b, int32_t first_b, void *out,
                          int32_t index, int16_t *scratch) {
    const hws_matmul_layer own = *layer;
    int16_t *columns = scratch + own.depth;
    for (int32_t column = 0; column < own.columns; column++) {
        widen_vector(b, first_b + column * own.b_column, own.b_step, own.depth, own.b_bytes, own.b_zero, columns + column * own.depth);
    }
    for (int32_t row = 0; row < own.rows; row++) {
        widen_vector(a, first_a + row * own.a_row, own.a_step, own.depth, own.a_bytes, own.a_zero, scratch);
        for (int32_t column = 0; column < own.columns; column += 2) {
            const int32_t pitch = own.columns - column < 2 ? 0 : own.depth;
            int64_t sums[2];
            hws_wide_dots(scratch, columns + column * own.depth, pitch, own.depth, sums);
            for (int32_t i = 0; i < (pitch ? 2 : 1); i++) {
                const int64_t code = hws_scale_wide(sums[i], own.multiplier, own.shift) + own.out_zero;
                hws_store(out, index++, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
            }
        }
    }
}

void hws_matmul(const hws_matmul_layer *layer, const void *a, const void *b, void *out, uint8_t *scratch) {
    const int32_t size_a = layer->rows * layer->depth, size_b = layer->depth * layer->columns, size = layer->rows * layer->columns;
    for (int32_t batch = 0; batch < layer->batches; batch++) {
        if (layer->wide) {
            multiply_wide(layer, a, batch * size_a, b, batch * size_b, out, batch * size, (int16_t *)(void *)scratch);
        } else {
            multiply(layer, (const uint8_t *)a + batch * size_a, (const uint8_t *)b + batch * size_b, out, batch * size, scratch);
        }
    }
}
