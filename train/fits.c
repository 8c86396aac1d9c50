/* fits: whether data fit a model, found out before its first step: classes, tokens and kinds of tokens that it has, and no
 * document with more rows than it has positions for. A batch with such a row would stop the run, perhaps hours later. */
#include <stdio.h>

#include "runtime/program.h"
#include "train/images.h"
#include "train/loader_internal.h"
#include "train/loop.h"

/* What values of an input that lead out of no table are below; INT64_MAX: nothing says, or there is no such input. */
static int64_t below_of(const ctl_program *p, const char *name) {
    for (size_t i = 0; i < p->ninputs; i++)
        if (strcmp(p->inputs[i].name, name) == 0 && p->inputs[i].below > 0) return p->inputs[i].below;
    return INT64_MAX;
}

/* ---- classes and tokens ---- */
static const char *const CLASSES = "classes are numbered from 0; a parameter of the model says how many it knows";

ctl_status ctl_images_fit(const ctl_images *m, int64_t classes, ctl_voice voice) {
    for (size_t i = 0; i < m->n && classes; i++) {
        const int32_t label = m->labels[m->index ? m->index[i] : i];
        if (label < classes) continue;
        ctl_say(voice, CTL_ERROR, "E0615", CLASSES, "image %zu is of class %d, and the model has %lld classes", i + 1, (int)label,
                (long long)classes);
        return CTL_ERR_INPUT;
    }
    return CTL_OK;
}

static ctl_status check_classes(const ctl_corpus *c, int64_t classes, ctl_voice voice) {
    for (size_t d = 0; d < c->ndocs && classes; d++) {
        const ctl_document *doc = &c->docs[d];
        if (doc->label < classes) continue;
        ctl_say(voice, CTL_ERROR, "E0615", CLASSES, "%s%sdocument %zu is of class %d, and the model has %lld classes",
                doc->file ? doc->file : "", doc->file ? ": " : "", doc->number, (int)doc->label, (long long)classes);
        return CTL_ERR_INPUT;
    }
    return CTL_OK;
}

static const char *const OWN_TOKENIZER = "data must be tokenised with the model's own tokenizer (tools/tokenize)";

/* The first id of the file, its padding's or its targets' that the model has no row for; -1: there is none. */
static int64_t id_beyond(const ctl_tokens *t, int64_t most) {
    if (t->pad >= most) return t->pad;
    for (size_t k = 0; k < t->nids; k++) {
        if (ctl_tokens_id(t, k) >= most) return ctl_tokens_id(t, k);
        if (t->targets && ctl_tokens_int(t->targets, k) >= most) return ctl_tokens_int(t->targets, k);
    }
    return -1;
}

/* A tokenizer may have more ids than its model has rows: marks that somebody added, and no text has. Of texts 256 and 257
 * occur in any case. */
static ctl_status check_vocabulary(const ctl_corpus *c, int64_t most, ctl_voice voice) {
    const ctl_tokens *tokens = c->docs[0].from; /* of all documents alike */
    const int64_t vocab = tokens ? tokens->vocab : CTL_TOKEN_COUNT;
    if (vocab <= most) return CTL_OK;
    for (size_t i = 0; i < c->nfiles; i++) {
        const int64_t id = id_beyond(c->files[i], most);
        if (id < 0) continue;
        ctl_say(voice, CTL_ERROR, "E0615", OWN_TOKENIZER,
                "%s: id %lld occurs; the data have a vocabulary of %lld (%s), the model one of %lld", c->files[i]->path, (long long)id,
                (long long)vocab, tokens->tokenizer, (long long)most);
        return CTL_ERR_INPUT;
    }
    if (tokens) {
        ctl_say(voice, CTL_WARNING, "E0615", OWN_TOKENIZER,
                "the data have a vocabulary of %lld (%s), the model one of %lld; no id beyond that occurs", (long long)vocab,
                tokens->tokenizer, (long long)most);
        return CTL_OK;
    }
    ctl_say(voice, CTL_ERROR, "E0615", "texts are bytes and need a vocabulary of 258; tools/tokenize makes other tokens of them",
            "the data have a vocabulary of %lld (bytes), the model one of %lld", (long long)vocab, (long long)most);
    return CTL_ERR_INPUT;
}

void ctl_corpus_warn_bytes(const ctl_corpus *c, const ctl_program *p, ctl_voice voice) {
    enum { MANY = 1000 }; /* words: a model of bytes has few more ids than those */
    const int64_t vocab = below_of(p, "ids");
    if (c->ndocs == 0 || c->docs[0].from || vocab == INT64_MAX || vocab < MANY) return;
    ctl_say(voice, CTL_WARNING, "E0617", "tools/tokenize --tokenizer MODEL/tokenizer.json -o NAME.safetensors .. makes a token file of them",
            "the data are texts, which become bytes, and the model has %lld words of a tokenizer", (long long)vocab);
}

static ctl_status check_types(const ctl_corpus *c, int64_t kinds, ctl_voice voice) {
    for (size_t i = 0; i < c->nfiles; i++)
        for (size_t k = 0; k < c->files[i]->nids; k++) {
            const int32_t type = ctl_tokens_type(c->files[i], k);
            if (type < kinds) continue;
            ctl_say(voice, CTL_ERROR, "E0615", "a parameter of the model says how many kinds of tokens it knows",
                    "%s: token %zu is of kind %d, and the model has %lld kinds, from 0 on", c->files[i]->path, k, (int)type,
                    (long long)kinds);
            return CTL_ERR_INPUT;
        }
    return CTL_OK;
}

ctl_status ctl_corpus_fits(const ctl_corpus *c, bool classify, const ctl_program *p, ctl_voice voice) {
    int64_t vocab = below_of(p, "ids");
    if (c->ndocs == 0) return CTL_OK;
    if (!classify && p->classes > 0 && p->classes < vocab) vocab = p->classes;
    if (!classify && below_of(p, "labels") < vocab) vocab = below_of(p, "labels");
    ctl_status status = classify ? check_classes(c, p->classes, voice) : CTL_OK;
    if (status == CTL_OK) status = check_vocabulary(c, vocab, voice);
    return status == CTL_OK ? check_types(c, below_of(p, "types"), voice) : status;
}

/* ---- positions ---- */
static ctl_status too_long_sequence(int64_t rows, int64_t positions, ctl_voice voice) {
    ctl_say(voice, CTL_ERROR, "E0616", "`tokens N x LENGTH` in the tune block, or --set tokens=NxLENGTH; a parameter of the model "
                                       "says how many positions it has",
            "sequences have %lld rows, and the model has positions for %lld", (long long)rows, (long long)positions);
    return CTL_ERR_INPUT;
}

static ctl_status too_long(const ctl_document *d, int64_t rows, size_t more, int64_t positions, ctl_voice voice) {
    char hint[160], others[64] = "";
    if (d->from)
        snprintf(hint, sizeof hint, "tools/tokenize --cutoff %lld cuts documents", (long long)positions);
    else
        snprintf(hint, sizeof hint, "`tokens N x %lld` in the tune block, or --set tokens=Nx%lld, cuts texts; or cut them yourself",
                 (long long)positions, (long long)positions);
    if (more) snprintf(others, sizeof others, "; so have %zu more", more);
    ctl_say(voice, CTL_ERROR, "E0616", hint, "%s%sdocument %zu has %lld rows, and the model has positions for %lld%s",
            d->file ? d->file : "", d->file ? ": " : "", d->number, (long long)rows, (long long)positions, others);
    return CTL_ERR_INPUT;
}

ctl_status ctl_loader_fits(const ctl_loader *l, const ctl_program *p, ctl_voice voice) {
    const ctl_packing *packing = &l->packing;
    const int64_t positions = below_of(p, "position"), sequence = packing->sequence;
    const int64_t room = sequence ? sequence : packing->rows;
    size_t first = 0, found = 0;
    if (room <= positions) return CTL_OK;
    if (l->images || (sequence && !packing->whole)) return too_long_sequence(sequence, positions, voice);
    for (size_t d = 0; d < l->corpus->ndocs; d++) {
        const int64_t rows = ctl_document_rows(l, d), here = rows < room ? rows : room;
        /* Behind a document alone in its sequence stands padding, a document as well. */
        if (sequence && here <= positions && room - here > positions) return too_long_sequence(sequence, positions, voice);
        if (here > positions && found++ == 0) first = d;
    }
    return found ? too_long(&l->corpus->docs[first], ctl_document_rows(l, first), found - 1, positions, voice) : CTL_OK;
}
