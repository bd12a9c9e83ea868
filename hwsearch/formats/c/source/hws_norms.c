#include <math.h>

#include "hws.h"
#include "hws_requant.h"

void hws_layer_norm(const hws_norm_layer *layer, const void *in, void *out) {
    const hws_norm_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        float sum = 0, power = 0;
        for (int32_t i = 0; i < own.length; i++) {
            sum += (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale;
        }
        const float mean = sum / (float)own.length;
        for (int32_t i = 0; i < own.length; i++) {
            const float apart = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale - mean;
            power += apart * apart;
        }
        const float root = 1.0f / sqrtf(power / (float)own.length + own.epsilon);
        for (int32_t i = 0; i < own.length; i++) {
            const float apart = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale - mean;
            const float value = apart * root * own.gamma[i] + own.beta[i];
            const int32_t code = hws_nearest_away(value, own.out_scale, own.out_zero, own.out_min, own.out_max);
            hws_store(out, first + i, code, own.out_bytes);
        }
    }
}

void hws_unit_norm(const hws_norm_layer *layer, const void *in, void *out) {
    const hws_norm_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        int64_t squares = 0;
        for (int32_t i = 0; i < own.length; i++) {
            const int64_t x = hws_load(in, first + i, own.in_bytes) - own.in_zero;
            squares += x * x;
        }
        const float length = sqrtf((float)squares) * own.in_scale, divisor = length < own.epsilon ? own.epsilon : length;
        for (int32_t i = 0; i < own.length; i++) {
            const float value = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale / divisor;
            hws_store(out, first + i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

void hws_rms_norm(const hws_norm_layer *layer, const void *in, void *out) {
    const hws_norm_layer own = *layer;
    for (int32_t row = 0, first = 0; row < own.rows; row++, first += own.length) {
        int64_t squares = 0;
        for (int32_t i = 0; i < own.length; i++) {
            const int32_t x = hws_load(in, first + i, own.in_bytes) - own.in_zero;
            squares += (int64_t)x * x;
        }
        const float power = (float)squares * own.in_scale * own.in_scale / (float)own.length;
        const float root = 1.0f / sqrtf(power + own.epsilon);
        for (int32_t i = 0; i < own.length; i++) {
            const float value = (float)(hws_load(in, first + i, own.in_bytes) - own.in_zero) * own.in_scale * root * own.gamma[i];
            hws_store(out, first + i, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
        }
    }
}

void hws_group_norm(const hws_norm_layer *layer, const void *in, void *out, int32_t groups) {
    const hws_norm_layer own = *layer;
    const int32_t channels = own.length / groups;
    for (int32_t start = 0; start < own.length; start += channels) {
        int64_t sum = 0, squares = 0;
        for (int32_t row = 0, at = start; row < own.rows; row++, at += own.length) {
            for (int32_t c = 0; c < channels; c++) {
                const int32_t x = hws_load(in, at + c, own.in_bytes) - own.in_zero;
                sum += x;
                squares += (int64_t)x * x;
            }
        }
        const double count = (double)own.rows * channels, middle = (double)sum / count;
        const double variance = ((double)squares / count - middle * middle) * (double)own.in_scale * (double)own.in_scale;
        const float mean = (float)(middle * (double)own.in_scale), root = 1.0f / sqrtf((float)variance + own.epsilon);
        for (int32_t row = 0, at = start; row < own.rows; row++, at += own.length) {
            for (int32_t c = 0; c < channels; c++) {
                const float x = (float)(hws_load(in, at + c, own.in_bytes) - own.in_zero) * own.in_scale;
                const float value = (x - mean) * root * own.gamma[start + c] + own.beta[start + c];
                hws_store(out, at + c, hws_nearest(value, own.out_scale, own.out_zero, own.out_min, own.out_max), own.out_bytes);
            }
        }
    }
}
