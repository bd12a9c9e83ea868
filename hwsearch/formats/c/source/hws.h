/* Kernels of a quantized network: C99, no allocation, no global state.
 *
 * A picture is an array [height][width][channels] of codes, another tensor one in the order of its axes: uint8_t for widths up to 8 bits, uint16_t above. A code q stands for
 * scale * (q - zero). Narrow widths and ReLU are the bounds out_min and out_max. Weights are signed integers of weight_bits bits,
 * a stream of bits per output channel, least significant bit first, each channel starting on a byte; taps are ordered
 * [kernel_h][kernel_w][input channel of the group].
 *
 * The multiply-accumulate loop is chosen by the compiler's target: Helium (__ARM_FEATURE_MVE), the DSP extension of Cortex-M4,
 * M7 and M33 (__ARM_FEATURE_SIMD32), or plain C. All three give the same codes.
 */
#ifndef HWS_H
#define HWS_H

#include <stdint.h>

typedef struct {
    int32_t in_h, in_w, in_c, out_h, out_w, out_c;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, groups;
    int32_t in_zero, out_zero, out_min, out_max;
    int32_t weight_bits, in_bytes, out_bytes; /* bytes of a code: 1 or 2 */
    const uint8_t *weights;
    const int32_t *bias;             /* per output channel, in units of the accumulator; hws_conv expects it less in_zero * sum(w) */
    const int64_t *wide_bias;        /* instead of bias where in_bytes is 2 */
    const int32_t *multiplier;       /* mantissas of 31 bits; of 15 bits where in_bytes or out_bytes is 2 */
    const int8_t *shift;             /* power of two that belongs to the mantissa */
    const int32_t *slope_multiplier; /* for negative accumulators; NULL without PReLU or LeakyReLU */
    const int8_t *slope_shift;
} hws_conv_layer;

/* The largest number of pixels for which hws_conv gathers patches at once, on any target. */
#define HWS_MAX_PIXELS 4

/* A convolution with groups = 1. scratch, aligned to 2 bytes: HWS_MAX_PIXELS patches, then the weights, one byte each, if
 * weight_bits < 8. */
void hws_conv(const hws_conv_layer *layer, const void *in, void *out, uint8_t *scratch);

/* A grouped or depthwise convolution. scratch: the weights, one byte each, if weight_bits < 8. */
void hws_conv_direct(const hws_conv_layer *layer, const void *in, void *out, uint8_t *scratch);

typedef struct {
    int32_t a_zero, b_zero, out_zero, out_min, out_max;
    int32_t a_bytes, b_bytes, out_bytes;
    int32_t left_shift, a_multiplier, a_shift, b_multiplier, b_shift, out_multiplier, out_shift;
} hws_add_layer;

void hws_add(const hws_add_layer *layer, const void *a, const void *b, void *out, int32_t elements);

/* An operand smaller than the result: each of its count codes stands for inner behind each other, and then all again. */
typedef struct {
    int32_t inner, count;
} hws_broadcast;

void hws_add_broadcast(const hws_add_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
                    const hws_broadcast *broadcast_b, void *out, int32_t elements);

typedef struct {
    int32_t a_zero, b_zero, a_bytes, b_bytes, out_bytes;
    int32_t multiplier, shift, out_zero, out_min, out_max;
} hws_mul_layer;

void hws_mul(const hws_mul_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
             const hws_broadcast *broadcast_b, void *out, int32_t elements);

/* Functions of two real values in single precision, of which only the result is rounded to a code: their sum, times `slope` where
 * it is negative; their difference; the smaller or the larger one; the first, times the second where it is negative; their product;
 * their quotient, which is zero where the first is; their difference times itself. An operand of 4 bytes holds numbers of single
 * precision. */
enum { HWS_SUM, HWS_DIFFERENCE, HWS_SMALLER, HWS_LARGER, HWS_BENT, HWS_PRODUCT, HWS_QUOTIENT, HWS_SQUARE };
typedef struct {
    int32_t function, a_zero, b_zero, a_bytes, b_bytes, c_bytes, out_bytes;
    float a_scale, b_scale, slope, out_scale;
    int32_t out_zero, out_min, out_max;
} hws_real_layer;

void hws_real(const hws_real_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
              const hws_broadcast *broadcast_b, void *out, int32_t elements);

/* Functions of three, the third one always constant: the first where the third, a byte, is not zero, else the second; and, with
 * numbers of single precision, the first times the second, plus the third; the sum of two, times the third where it is negative. */
enum { HWS_CHOSEN, HWS_AFFINE, HWS_SUM_BENT };
void hws_real_of_three(const hws_real_layer *layer, const void *a, const hws_broadcast *broadcast_a, const void *b,
                       const hws_broadcast *broadcast_b, const void *c, const hws_broadcast *broadcast_c, void *out,
                       int32_t elements);

/* A real value, times `slope` where it is negative, within low .. high. */
typedef struct {
    int32_t in_zero, in_bytes, out_bytes;
    float in_scale, slope, low, high, out_scale;
    int32_t out_zero, out_min, out_max;
} hws_bend_layer;

void hws_bend(const hws_bend_layer *layer, const void *in, void *out, int32_t elements);

/* A function of 16-bit codes as 513 places with straight lines between them. */
typedef struct {
    const int16_t *table;
    int32_t out_bytes, multiplier, shift, out_zero, out_min, out_max;
} hws_lookup_wide_layer;

void hws_lookup_wide(const hws_lookup_wide_layer *layer, const void *in, void *out, int32_t elements);
/* out[i] = table[in[i]], for an input of 8-bit codes; the table has codes of the output's size. */
void hws_lookup(const uint8_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes);
/* The same for 16-bit codes: the table has 65536. */
void hws_lookup_every(const uint16_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes);

/* Functions of 16-bit codes by straight lines between 256 places of the logistic function: that function itself, the hyperbolic
 * tangent, and x times the logistic function of x. The latter is a product within gate_min .. gate_max, brought to the output. */
enum { HWS_LOGISTIC, HWS_TANH, HWS_SILU };
typedef struct {
    int32_t function, place_multiplier, place_shift, in_zero, out_bytes;
    int32_t gate_multiplier, gate_shift, gate_min, gate_max;
    int32_t multiplier, shift, out_zero, out_min, out_max;
} hws_curve_layer;

void hws_curve(const hws_curve_layer *layer, const uint16_t *in, void *out, int32_t elements);

/* out[batch][row][column] = sum over depth of a[row] b[column]; neighbours lie a_row, a_step, b_column, b_step codes apart. With
 * wide, where a tensor has 16 bits, the multiplier has 15. */
typedef struct {
    int32_t batches, rows, depth, columns, a_row, a_step, b_column, b_step;
    int32_t a_zero, b_zero, a_bytes, b_bytes, out_bytes, wide;
    int32_t multiplier, shift, out_zero, out_min, out_max;
} hws_matmul_layer;

/* scratch, aligned to 4 bytes: 4 bytes for each column, HWS_MAX_PIXELS rows of a, and one b; if wide, one row of a and one b, of 2
 * bytes each. */
void hws_matmul(const hws_matmul_layer *layer, const void *a, const void *b, void *out, uint8_t *scratch);

/* outer blocks of count rows of inner codes; every block becomes one row. */
typedef struct {
    int32_t outer, count, inner, in_zero, in_bytes, out_bytes;
    int32_t multiplier, shift, out_zero, out_min, out_max;
} hws_mean_layer;

void hws_mean(const hws_mean_layer *layer, const void *in, void *out);

/* Standard deviations in double precision, or, with `squared`, variances; count less correction is what squares are divided by. */
typedef struct {
    int32_t outer, count, inner, in_zero, in_bytes, out_bytes, correction, squared;
    float in_scale, out_scale;
    int32_t out_zero, out_min, out_max;
} hws_std_layer;

void hws_std(const hws_std_layer *layer, const void *in, void *out);

/* One real value for all: their sum, in double precision, or the largest or smallest. */
enum { HWS_TOTAL, HWS_LARGEST, HWS_SMALLEST };
typedef struct {
    int32_t function, outer, count, inner, in_zero, in_bytes, out_bytes;
    float in_scale, out_scale;
    int32_t out_zero, out_min, out_max;
} hws_reduce_layer;

void hws_reduce(const hws_reduce_layer *layer, const void *in, void *out);

typedef struct {
    int32_t in_h, in_w, out_h, out_w, channels, kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, bytes;
} hws_pool_layer;

void hws_max_pool(const hws_pool_layer *layer, const void *in, void *out);

/* Means of windows, of real values in single precision, added row by row; with count_padding, zeros beyond the border count. */
typedef struct {
    hws_pool_layer window;
    int32_t count_padding, in_zero, in_bytes, out_bytes;
    float in_scale, out_scale;
    int32_t out_zero, out_min, out_max;
} hws_average_layer;

void hws_average_pool(const hws_average_layer *layer, const void *in, void *out);

/* The tables have exponentials by distance from the greatest code of a row, with 31 fractional bits, and rounded to 19; those of
 * 16-bit tensors have 513 places. */
typedef struct {
    int32_t rows, length, in_bytes, out_bytes;
    const int32_t *exponential, *narrow;
    const int16_t *wide_exponential, *wide_inverse;
    int32_t place_multiplier, place_shift;
    int32_t multiplier, shift, out_zero, out_min, out_max;
} hws_softmax_layer;

void hws_softmax(const hws_softmax_layer *layer, const void *in, void *out);
/* scratch, aligned to 2 bytes: length numbers of 16 bits. */
void hws_softmax_wide(const hws_softmax_layer *layer, const void *in, void *out, void *scratch);

/* Layer normalization of rows, in single precision, every operation rounded by itself: compile with -ffp-contract=off, which keeps
 * a * b + c two operations, and the codes are the same everywhere. */
typedef struct {
    int32_t rows, length;
    const float *gamma, *beta;
    float epsilon, in_scale;
    int32_t in_zero, in_bytes, out_bytes;
    float out_scale;
    int32_t out_zero, out_min, out_max;
} hws_norm_layer;

void hws_layer_norm(const hws_norm_layer *layer, const void *in, void *out);
/* Rows over their lengths, or over epsilon where that is more; no gamma and beta. */
void hws_unit_norm(const hws_norm_layer *layer, const void *in, void *out);
/* Rows over the root of their mean square; no beta. */
void hws_rms_norm(const hws_norm_layer *layer, const void *in, void *out);
/* A picture of `rows` pixels of `length` channels: each of `groups` groups of channels less its mean, over its deviation. */
void hws_group_norm(const hws_norm_layer *layer, const void *in, void *out, int32_t groups);

/* Interpolation: pixel (y, x) is the sum of row_taps x column_taps pixels from (rows[y], columns[x]) on, weighted. */
typedef struct {
    int32_t in_w, out_h, out_w, channels, row_taps, column_taps;
    const int32_t *rows, *columns;
    const float *row_weights, *column_weights;
    float in_scale;
    int32_t in_zero, in_bytes, out_bytes;
    float out_scale;
    int32_t out_zero, out_min, out_max;
} hws_resize_layer;

/* `rows` never falls. scratch, aligned to 4 bytes: row_taps rows of the output, interpolated between columns alone. */
void hws_resize(const hws_resize_layer *layer, const void *in, void *out, float *scratch);

/* Bilinear interpolation of 8-bit codes in integers: pixel (y, x) lies between row rows[y] and the next one, row_weights[y] / 1024
 * of the way, and so for columns. Codes of the input are first looked up in `table`, unless that is NULL. */
typedef struct {
    int32_t in_w, out_h, out_w, channels, row_taps, column_taps; /* taps: 2, or 1 where there is no next one to look at */
    const int32_t *rows, *columns, *row_weights, *column_weights;
    const uint8_t *table;
} hws_bilinear_layer;

/* `rows` never falls. scratch, aligned to 4 bytes: row_taps rows of the output, interpolated between columns alone. */
void hws_resize_bilinear(const hws_bilinear_layer *layer, const uint8_t *in, uint8_t *out, int32_t *scratch);

/* What follows moves codes; bytes is the size of a code. */

/* Copies of `run` codes that lie together, for all places on `axes` axes of `sizes`: from base + the offsets of each axis, which
 * stand behind each other in `offsets`. Where an offset is negative, the code `fill`. */
#define HWS_MAX_AXES 10
typedef struct {
    int32_t axes;
    const int32_t *sizes, *offsets;
    int32_t base, run, fill, bytes;
} hws_move_layer;

void hws_move(const hws_move_layer *layer, const void *in, void *out);

/* Channels start .. start + out_c - 1 of a tensor become channels at .. of a tensor with total_c channels. */
void hws_copy_channels(const void *in, int32_t in_c, int32_t start, int32_t count, void *out, int32_t out_c, int32_t at,
                       int32_t pixels, int32_t bytes);
void hws_repeat(const void *in, void *out, int32_t pixels, int32_t channels, int32_t times, int32_t bytes);
/* [h][w][c * factor^2] to [factor * h][factor * w][c]; input channel c * factor^2 + dy * factor + dx goes to row dy, column dx. */
void hws_pixel_shuffle(const void *in, void *out, int32_t h, int32_t w, int32_t out_c, int32_t factor, int32_t bytes);
/* The way back: [factor * h][factor * w][c] to [h][w][c * factor^2]. */
void hws_pixel_unshuffle(const void *in, void *out, int32_t h, int32_t w, int32_t in_c, int32_t factor, int32_t bytes);
void hws_resize_nearest(const void *in, void *out, int32_t h, int32_t w, int32_t channels, int32_t factor, int32_t bytes);
void hws_clamp(void *codes, int32_t elements, int32_t low, int32_t high, int32_t bytes);

#endif
