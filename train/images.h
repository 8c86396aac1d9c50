/* images: examples of real numbers from .npy files, with a class each.
 *
 * An array is [n, channels, height, width] or [n, patches, columns]. What a net takes is one row a patch; patches go row
 * by row over the image, and the columns of one are channel, row, column, as the kernels of published ViTs are stored.
 * Images of the first form are cut into such patches, whose size follows from what the net takes. Bytes (uint8) become
 * 0 .. 1; then every number x of channel c is (x - mean[c]) / std[c]. */
#ifndef CTL_TRAIN_IMAGES_H
#define CTL_TRAIN_IMAGES_H

#include "train/data.h"
#include "train/npy.h"

enum { CTL_MOST_CHANNELS = 16 };
typedef struct ctl_normalisation {
    size_t n; /* 0: none; 1: all channels alike; else as many as channels */
    double mean[CTL_MOST_CHANNELS], std[CTL_MOST_CHANNELS];
} ctl_normalisation;

typedef struct ctl_images {
    const ctl_allocator *allocator;
    ctl_npy array;
    int32_t *labels; /* [array.dims[0]] */
    size_t nlabels;
    size_t *index; /* [n]: numbers in the array of the images that are here; NULL: all */
    size_t n, index_cap;
    bool borrowed;         /* array and labels are another's */
    int64_t rows, columns; /* patches of an image, and numbers of a patch */
    int64_t channels, height, width, patch; /* of the first form; patch 0: the second */
    ctl_normalisation normalisation;
    uint64_t hash;
} ctl_images;

/* Reads the array and the labels, and lays the patches out for a net that takes `rows` rows of `columns` numbers an
 * image. CTL_ERR_IO, CTL_ERR_INPUT (said with file and shapes), CTL_ERR_MEMORY. */
ctl_status ctl_images_open(ctl_images *images, const char *path, const char *labels, int64_t rows, int64_t columns,
                           const ctl_normalisation *normalisation, const ctl_allocator *allocator, ctl_voice voice);
void ctl_images_close(ctl_images *images);
/* Moves about `fraction` of the images, drawn by the seed, to held_out; images must outlive it. */
ctl_status ctl_images_split(ctl_images *images, double fraction, uint64_t seed, ctl_images *held_out);
uint64_t ctl_images_fingerprint(const ctl_images *images);

/* Whether every class of the examples is one that the program knows (where it tells how many there are). CTL_ERR_INPUT, said
 * with the number. */
ctl_status ctl_images_fit(const ctl_images *images, int64_t classes, ctl_voice voice);

/* Classes: an .npy array of integers, or a text with one number a line; of a line with commas the last field counts, and
 * a first line without a number there is a header. *out has *n numbers and is the caller's: *n * sizeof(int32_t). */
ctl_status ctl_labels_read(const char *path, const ctl_allocator *allocator, ctl_voice voice, int32_t **out, size_t *n);

#endif
