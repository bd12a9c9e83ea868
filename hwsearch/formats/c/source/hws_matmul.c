#include "hws.h"
#include "hws_requant.h"

void hws_matmul(const hws_matmul_layer *layer, const void *a, const void *b, void *out) {
    const hws_matmul_layer own = *layer;
    int32_t index = 0;
    for (int32_t batch = 0; batch < own.batches; batch++) {
        const int32_t first_a = batch * own.rows * own.depth, first_b = batch * own.depth * own.columns;
        for (int32_t row = 0; row < own.rows; row++) {
            for (int32_t column = 0; column < own.columns; column++) {
                int32_t at_a = first_a + row * own.a_row, at_b = first_b + column * own.b_column;
                int64_t sum = 0;
                if (own.wide) {
                    for (int32_t k = 0; k < own.depth; k++, at_a += own.a_step, at_b += own.b_step) {
                        sum += (int64_t)(hws_load(a, at_a, own.a_bytes) - own.a_zero) * (hws_load(b, at_b, own.b_bytes) - own.b_zero);
                    }
                    sum = hws_scale_wide(sum, own.multiplier, own.shift);
                } else {
                    const uint8_t *x = (const uint8_t *)a + at_a, *y = (const uint8_t *)b + at_b;
                    int32_t dot = 0;
                    for (int32_t k = 0; k < own.depth; k++, x += own.a_step, y += own.b_step) {
                        dot += (*x - own.a_zero) * (*y - own.b_zero);
                    }
                    sum = hws_scale(dot, own.multiplier, own.shift);
                }
                hws_store(out, index++, hws_bound(sum + own.out_zero, own.out_min, own.out_max), own.out_bytes);
            }
        }
    }
}
