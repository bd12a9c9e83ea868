/* Functions of one value as tables of codes. */
#include "hws.h"
#include "hws_requant.h"

void hws_lookup_wide(const hws_lookup_wide_layer *layer, const void *in, void *out, int32_t elements) {
    const hws_lookup_wide_layer own = *layer;
    for (int32_t i = 0; i < elements; i++) {
        const int32_t value = hws_interpolated(own.table, (int64_t)hws_load(in, i, 2) - 32768);
        const int64_t code = hws_scale_short(value, own.multiplier, own.shift) + own.out_zero;
        hws_store(out, i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
    }
}

void hws_lookup(const uint8_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes) {
    for (int32_t i = 0; out_bytes == 1 && i < elements; i++) {
        ((uint8_t *)out)[i] = ((const uint8_t *)table)[in[i]];
    }
    for (int32_t i = 0; out_bytes == 2 && i < elements; i++) {
        ((uint16_t *)out)[i] = ((const uint16_t *)table)[in[i]];
    }
}

void hws_lookup_every(const uint16_t *in, const void *table, void *out, int32_t elements, int32_t out_bytes) {
    for (int32_t i = 0; i < elements; i++) {
        hws_store(out, i, hws_load(table, in[i], out_bytes), out_bytes);
    }
}

/* The logistic function of i / 24 with 16 fractional bits, moved up by half of what a straight line to the next place lies too low
 * in the middle. */
static const uint16_t logistic_places[256] = {
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535,
};

/* The function at place / 2^bits with 16 + bits fractional bits. */
static inline int32_t on_the_line(int32_t place, int32_t bits) {
    const int32_t whole = place >> bits, index = whole < 254 ? whole : 254;
    const int32_t here = logistic_places[index], slope = logistic_places[index + 1] - here;
    return (here << bits) + (place & ((1 << bits) - 1)) * slope;
}

static inline int32_t logistic(int32_t line) {
    const int32_t place = line < 0 ? -line : line;
    const int32_t value = place >> 9 >= 255 ? 0x7fff << 10 : on_the_line(place, 9);
    return hws_bound((line < 0 ? (1 << 25) - value + (1 << 9) - 1 : value + (1 << 9)) >> 10, INT16_MIN, INT16_MAX);
}

/* Twice the logistic function of twice the value, less one. */
static inline int32_t tangent(int32_t line) {
    const int32_t place = line < 0 ? -line : line;
    const int32_t value = (place >> 8 >= 255 ? 0xffff << 8 : on_the_line(place, 8)) - (1 << 23);
    return hws_bound((line < 0 ? (1 << 7) - 1 - value : value + (1 << 7)) >> 8, INT16_MIN, INT16_MAX);
}

void hws_curve(const hws_curve_layer *layer, const uint16_t *in, void *out, int32_t elements) {
    const hws_curve_layer own = *layer;
    const int32_t half = own.place_shift ? (int32_t)1 << (own.place_shift - 1) : 0;
    for (int32_t i = 0; i < elements; i++) {
        /* A code times a multiplier below 2^15, and a half of at most 2^30. */
        const int32_t line = ((in[i] - 32768) * own.place_multiplier + half) >> own.place_shift;
        int32_t value = own.function == HWS_TANH ? tangent(line) : logistic(line);
        if (own.function == HWS_SILU) {
            const int32_t product = hws_scale((in[i] - own.in_zero) * value, own.gate_multiplier, own.gate_shift);
            value = hws_bound(product, own.gate_min, own.gate_max);
        }
        const int64_t code = hws_scale_short(value, own.multiplier, own.shift) + own.out_zero;
        hws_store(out, i, hws_bound(code, own.out_min, own.out_max), own.out_bytes);
    }
}
