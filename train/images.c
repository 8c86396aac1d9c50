/* images: see images.h. A batch's numbers are converted as it is filled: the array stays as it is on disk. */
#include "train/images.h"

#include <math.h>
#include <stdio.h>

#include "train/loader_internal.h"

/* ---- how patches lie ---- */
static ctl_status misfit(ctl_voice voice, const char *path, const char *hint, const char *fmt, ...) CTL_PRINTF(4, 5);
static ctl_status misfit(ctl_voice voice, const char *path, const char *hint, const char *fmt, ...) {
    char what[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    ctl_say(voice, CTL_ERROR, "E0613", hint, "%s: %s", path, what);
    return CTL_ERR_INPUT;
}

/* The side of patches of so many numbers: columns = channels * side * side. 0: there is none. */
static int64_t side_of(int64_t columns, int64_t channels) {
    if (channels < 1 || columns % channels) return 0;
    const int64_t area = columns / channels;
    int64_t side = (int64_t)sqrt((double)area);
    while (side * side > area) side--;
    while ((side + 1) * (side + 1) <= area) side++;
    return side * side == area ? side : 0;
}

static ctl_status lay_out(ctl_images *m, const char *path, int64_t rows, int64_t columns, ctl_voice voice) {
    const ctl_npy *a = &m->array;
    char shape[200];
    ctl_npy_shape(a, shape);
    m->rows = rows, m->columns = columns;
    if (a->kind == CTL_NPY_BOOL || (a->kind == CTL_NPY_INT) || (a->kind == CTL_NPY_UNSIGNED && a->size != 1))
        return misfit(voice, path, NULL, "images are float16, float32, float64 or uint8");
    if (a->ndims == 3) {
        if (a->dims[1] == rows && a->dims[2] == columns) return CTL_OK;
        return misfit(voice, path, "the tune block's `tokens N x PATCHES` says how many rows an image has",
                      "its images are %s, and the model takes %lld rows of %lld columns an image", shape, (long long)rows,
                      (long long)columns);
    }
    if (a->ndims != 4)
        return misfit(voice, path, NULL, "its shape is %s; images are [n, channels, height, width] or [n, patches, columns]",
                      shape);
    m->channels = a->dims[1], m->height = a->dims[2], m->width = a->dims[3];
    m->patch = side_of(columns, m->channels);
    if (!m->patch)
        return misfit(voice, path,
                      side_of(columns, a->dims[3]) && a->dims[3] <= 4
                          ? "images are [n, channels, height, width]; numpy's transpose(0, 3, 1, 2) brings the channels forward"
                          : "columns of a patch = channels x side x side",
                      "its images are %s, and the model's patches of %lld columns are no squares of %lld channels", shape,
                      (long long)columns, (long long)m->channels);
    const bool whole = m->height % m->patch == 0 && m->width % m->patch == 0;
    if (whole && m->height / m->patch * (m->width / m->patch) == rows) return CTL_OK;
    return misfit(voice, path, "the tune block's `tokens N x PATCHES` says how many rows an image has",
                  "its images are %s: in patches of %lld x %lld that are not %lld", shape, (long long)m->patch,
                  (long long)m->patch, (long long)rows);
}

static ctl_status check_normalisation(const ctl_images *m, const char *path, ctl_voice voice) {
    const ctl_normalisation *z = &m->normalisation;
    for (size_t i = 0; i < z->n; i++)
        if (!(fabs(z->mean[i]) < INFINITY) || !(z->std[i] > 0 && z->std[i] < INFINITY))
            return misfit(voice, path, NULL, "the normalisation of channel %zu is not of finite numbers, std above 0", i);
    const bool fits = m->patch ? (int64_t)z->n == m->channels : z->n && m->columns % (int64_t)z->n == 0;
    if (z->n <= 1 || fits) return CTL_OK;
    return misfit(voice, path, "give one number, or one a channel", "%zu numbers normalise images of %lld channels", z->n,
                  (long long)(m->patch ? m->channels : m->columns));
}

/* ---- opening, splitting ---- */
ctl_status ctl_images_open(ctl_images *m, const char *path, const char *labels, int64_t rows, int64_t columns,
                           const ctl_normalisation *normalisation, const ctl_allocator *allocator, ctl_voice voice) {
    *m = (ctl_images){.allocator = ctl_allocator_or_default(allocator)};
    if (normalisation) m->normalisation = *normalisation;
    ctl_status status = ctl_npy_open(&m->array, path, (ctl_place){voice, m->allocator});
    if (status == CTL_OK) status = lay_out(m, path, rows, columns, voice);
    if (status == CTL_OK) status = check_normalisation(m, path, voice);
    if (status == CTL_OK) status = ctl_labels_read(labels, m->allocator, voice, &m->labels, &m->nlabels);
    if (status == CTL_OK && (uint64_t)m->array.dims[0] != m->nlabels) {
        ctl_say(voice, CTL_ERROR, "E0611", "every image has one label, in the same order",
                "%s has %lld images, and %s has %zu labels", path, (long long)m->array.dims[0], labels, m->nlabels);
        status = CTL_ERR_INPUT;
    }
    if (status == CTL_OK && m->nlabels >= UINT32_MAX) status = misfit(voice, path, NULL, "it has too many images");
    if (status != CTL_OK) {
        ctl_images_close(m);
        return status;
    }
    m->n = m->nlabels;
    m->hash = ctl_hash(m->array.data, m->array.count * (size_t)m->array.size, 1);
    m->hash = ctl_hash(m->labels, m->nlabels * sizeof *m->labels, m->hash);
    return CTL_OK;
}

void ctl_images_close(ctl_images *m) {
    const ctl_allocator *a = ctl_allocator_or_default(m->allocator);
    if (!m->borrowed) {
        ctl_npy_close(&m->array);
        ctl_free(a, m->labels, m->nlabels * sizeof *m->labels);
    }
    ctl_free(a, m->index, m->index_cap * sizeof *m->index);
    *m = (ctl_images){.allocator = a};
}

ctl_status ctl_images_split(ctl_images *m, double fraction, uint64_t seed, ctl_images *held_out) {
    const ctl_allocator *a = m->allocator;
    const size_t n = m->n;
    size_t gone = (size_t)ceil((double)n * fraction), kept = 0, *order;
    *held_out = (ctl_images){.allocator = a};
    if (!(fraction > 0) || n < 2) return CTL_OK;
    if (gone >= n) gone = n - 1;
    ctl_status status = ctl_split_order(n, seed, a, &order);
    if (status != CTL_OK) return status;
    uint8_t *moved = ctl_alloc(a, n);
    size_t *stays = ctl_alloc(a, (n - gone) * sizeof *stays), *goes = ctl_alloc(a, gone * sizeof *goes);
    if (!moved || !stays || !goes) {
        ctl_free(a, stays, (n - gone) * sizeof *stays);
        ctl_free(a, goes, gone * sizeof *goes);
        status = CTL_ERR_MEMORY;
    } else {
        for (size_t i = 0; i < gone; i++) goes[i] = m->index ? m->index[order[i]] : order[i], moved[order[i]] = 1;
        for (size_t i = 0; i < n; i++)
            if (!moved[i]) stays[kept++] = m->index ? m->index[i] : i;
        *held_out = *m;
        held_out->borrowed = true;
        held_out->index = goes, held_out->n = held_out->index_cap = gone;
        ctl_free(a, m->index, m->index_cap * sizeof *m->index);
        m->index = stays, m->n = m->index_cap = kept;
    }
    ctl_free(a, moved, n);
    ctl_free(a, order, n * sizeof *order);
    return status;
}

uint64_t ctl_images_fingerprint(const ctl_images *m) {
    uint64_t h = m->index ? ctl_hash(m->index, m->n * sizeof *m->index, m->hash) : m->hash;
    return ctl_hash(&m->normalisation, sizeof m->normalisation, h);
}

/* ---- batches ---- */
/* Number `column` of patch `row`: where it lies in the image, and of which channel it is. */
static size_t place_of(const ctl_images *m, int64_t row, int64_t column, size_t *channel) {
    if (!m->patch) {
        const int64_t each = m->normalisation.n > 1 ? m->columns / (int64_t)m->normalisation.n : m->columns;
        *channel = (size_t)(column / each);
        return (size_t)(row * m->columns + column);
    }
    const int64_t across = m->width / m->patch, area = m->patch * m->patch, c = column / area;
    const int64_t y = row / across * m->patch + column % area / m->patch, x = row % across * m->patch + column % m->patch;
    *channel = (size_t)c;
    return (size_t)((c * m->height + y) * m->width + x);
}

static void put_image(const ctl_images *m, float *out, size_t image) {
    const size_t begin = image * (size_t)(m->rows * m->columns);
    const ctl_normalisation *z = &m->normalisation;
    for (int64_t row = 0; row < m->rows; row++) {
        for (int64_t column = 0; column < m->columns; column++) {
            size_t channel;
            const size_t at = begin + place_of(m, row, column, &channel);
            double value = ctl_npy_real(&m->array, at);
            if (m->array.kind == CTL_NPY_UNSIGNED) value /= 255;
            if (z->n) value = (value - z->mean[z->n > 1 ? channel : 0]) / z->std[z->n > 1 ? channel : 0];
            out[row * m->columns + column] = (float)value;
        }
    }
}

int64_t ctl_fill_images(ctl_loader *l, ctl_batch *b, int64_t row) {
    const ctl_images *m = l->images;
    for (; row < b->rows && l->place.item < l->items; row += m->rows) {
        const size_t which = l->order[l->place.item++], image = m->index ? m->index[which] : which;
        ctl_fill_padding(l, b, row, m->rows);
        for (int64_t t = 0; t < m->rows; t++) b->document[row + t] = (int32_t)which;
        put_image(m, b->pixels + row * m->columns, image);
        b->classes[row / m->rows] = m->labels[image];
        b->counted++;
    }
    return row;
}
