/* data_source: see data_source.h. */
#include "tools/ctlc/data_source.h"

#include <stdlib.h>

#include "runtime/program.h"

/* ---- options ---- */
/* Numbers with commas between them; 0: none, or wrong. */
static size_t parse_numbers(const char *text, double *out) {
    for (size_t n = 0; n < CTL_MOST_CHANNELS;) {
        char *end;
        out[n++] = strtod(text, &end);
        if (end == text) return 0;
        if (!*end) return n;
        if (*end != ',') return 0;
        text = end + 1;
    }
    return 0;
}

static bool parse_normalisation(const tool_data *d, ctl_normalisation *z) {
    double std[CTL_MOST_CHANNELS];
    *z = (ctl_normalisation){0};
    if (!d->mean && !d->std) return true;
    if (!d->mean || !d->std) return false;
    z->n = parse_numbers(d->mean, z->mean);
    if (z->n == 0 || parse_numbers(d->std, std) != z->n) return false;
    memcpy(z->std, std, sizeof std);
    return true;
}

const char *tool_data_wrong(const tool_data *d) {
    ctl_normalisation z;
    if (d->loss && strcmp(d->loss, "all") != 0 && strcmp(d->loss, "output") != 0) return "--loss is all or output";
    if (d->eval_fraction >= 1) return "--eval-fraction is below 1";
    if (!parse_normalisation(d, &z)) return "--mean and --std go together, with as many numbers each: 0.5 or 0.48,0.45,0.40";
    return NULL;
}

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static ctl_status refuse(ctl_voice voice, const char *hint, const char *what) {
    ctl_say(voice, CTL_ERROR, "E0611", hint, "%s", what);
    return CTL_ERR_INPUT;
}

/* ---- texts and token files ---- */
static ctl_status read_all(const text_list *paths, ctl_voice voice, ctl_corpus *c) {
    for (size_t i = 0; i < paths->n; i++) {
        if (ends_with(paths->at[i], ".npy"))
            return refuse(voice, "models with an input `pixels` learn from images", "the model takes texts, and --data names an array");
        ctl_status status = ctl_corpus_read(c, paths->at[i], voice);
        if (status != CTL_OK) return status;
    }
    return CTL_OK;
}

static ctl_status open_texts(const tool_data *d, const ctl_program *p, bool train, ctl_packing packing, ctl_voice voice,
                             tool_source *s) {
    if (d->labels || d->eval_labels)
        return refuse(voice, "classes of texts stand beside them: {\"text\": \"..\", \"label\": 2}", "--labels is for images");
    ctl_status status = read_all(&d->data, voice, &s->corpus);
    if (status == CTL_OK) status = read_all(&d->eval_data, voice, &s->held_corpus);
    for (size_t i = 0; i < s->corpus.nfiles && packing.loss_on_output && status == CTL_OK; i++)
        if (!s->corpus.files[i]->mask)
            status = refuse(voice, "tools/tokenize --loss output writes token files whose prompts do not count",
                            "--loss output: a token file of the data does not say what is output");
    if (status == CTL_OK && train && d->eval_data.n == 0 && d->eval_fraction > 0)
        status = ctl_corpus_split(&s->corpus, d->eval_fraction, packing.seed, &s->held_corpus);
    if (status == CTL_OK) status = ctl_corpus_fits(&s->corpus, packing.classify, p, voice);
    if (status == CTL_OK) status = ctl_corpus_fits(&s->held_corpus, packing.classify, p, voice);
    if (status == CTL_OK) status = ctl_loader_open(&s->corpus, &packing, NULL, voice, &s->data);
    if (status == CTL_OK) status = ctl_program_takes(p, s->data, voice);
    packing.shuffle = false;
    if (status == CTL_OK && s->held_corpus.ndocs)
        status = ctl_loader_open(&s->held_corpus, &packing, NULL, voice, &s->held_out);
    if (status == CTL_OK && s->held_out) status = ctl_program_takes(p, s->held_out, voice);
    if (status == CTL_OK) s->fingerprint = ctl_corpus_fingerprint(&s->corpus);
    return status;
}

/* ---- images ---- */
static int64_t columns_of(const ctl_program *p) {
    for (size_t i = 0; i < p->ninputs; i++)
        if (strcmp(p->inputs[i].name, "pixels") == 0) return p->inputs[i].value.cols;
    return 0;
}

static ctl_status read_images(const text_list *paths, const char *labels, const ctl_normalisation *z, const ctl_program *p,
                              ctl_voice voice, ctl_images *out) {
    if (paths->n != 1 || !ends_with(paths->at[0], ".npy"))
        return refuse(voice, "numpy.save writes such files", "the model takes images: one array, NAME.npy");
    if (!labels)
        return refuse(voice, "--labels FILE, for --eval-data --eval-labels FILE", "the classes of the images are missing");
    ctl_status status = ctl_images_open(out, paths->at[0], labels, p->sequence, columns_of(p), z, NULL, voice);
    return status == CTL_OK ? ctl_images_fit(out, p->classes, voice) : status;
}

static ctl_status open_images(const tool_data *d, const ctl_program *p, bool train, ctl_packing packing, ctl_voice voice,
                              tool_source *s) {
    ctl_normalisation z;
    parse_normalisation(d, &z);
    ctl_status status = read_images(&d->data, d->labels, &z, p, voice, &s->images);
    if (status == CTL_OK && d->eval_data.n)
        status = read_images(&d->eval_data, d->eval_labels, &z, p, voice, &s->held_images);
    else if (status == CTL_OK && train && d->eval_fraction > 0)
        status = ctl_images_split(&s->images, d->eval_fraction, packing.seed, &s->held_images);
    if (status == CTL_OK) status = ctl_loader_open_images(&s->images, &packing, NULL, voice, &s->data);
    if (status == CTL_OK) status = ctl_program_takes(p, s->data, voice);
    packing.shuffle = false;
    if (status == CTL_OK && s->held_images.n)
        status = ctl_loader_open_images(&s->held_images, &packing, NULL, voice, &s->held_out);
    if (status == CTL_OK) s->fingerprint = ctl_images_fingerprint(&s->images);
    return status;
}

/* ---- both ---- */
ctl_status tool_source_open(const tool_data *d, const ctl_program *p, bool train, uint64_t seed, ctl_voice voice,
                            tool_source *s) {
    *s = (tool_source){0};
    ctl_corpus_init(&s->corpus, NULL);
    ctl_corpus_init(&s->held_corpus, NULL);
    ctl_status status = ctl_program_data(p, voice, &s->kind);
    if (status != CTL_OK) return status;
    const ctl_packing packing = {.rows = p->tokens,
                                 .sequence = p->sequence,
                                 .loss_on_output = d->loss && strcmp(d->loss, "output") == 0,
                                 .whole = d->whole,
                                 .classify = s->kind != CTL_DATA_TOKENS,
                                 .shuffle = train,
                                 .seed = seed};
    status = s->kind == CTL_DATA_IMAGES ? open_images(d, p, train, packing, voice, s)
                                        : open_texts(d, p, train, packing, voice, s);
    const int64_t cut = status == CTL_OK ? ctl_loader_too_long(s->data) : 0;
    if (cut)
        ctl_say(voice, CTL_WARNING, "E0604", "longer sequences: --set tokens=NxLENGTH",
                "%lld of the documents do not fit into %lld tokens: their ends are left out", (long long)cut,
                (long long)(p->sequence ? p->sequence : p->tokens));
    return status;
}

void tool_source_close(tool_source *s) {
    ctl_loader_close(s->data);
    ctl_loader_close(s->held_out);
    ctl_corpus_free(&s->held_corpus);
    ctl_corpus_free(&s->corpus);
    ctl_images_close(&s->held_images);
    ctl_images_close(&s->images);
    s->data = s->held_out = NULL;
}

const char *tool_source_unit(const tool_source *s) {
    return s->kind == CTL_DATA_TOKENS ? "tokens" : s->kind == CTL_DATA_CLASSES ? "documents" : "images";
}

int64_t tool_source_count(const tool_source *s, const ctl_loader *l) {
    return !l ? 0 : s->kind == CTL_DATA_TOKENS ? ctl_loader_tokens(l) : ctl_loader_items(l);
}
