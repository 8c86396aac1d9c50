/* Files of tensors: what is written is read; every fault of a file, its message; mutants; no memory; no disk.
 */
#include "fake_engine.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/safetensors.h"

/* ---- a folder of its own ---- */
static char folder[64];
static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ctl_tensors_XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}
static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}
static const char *in_folder(char path[256], const char *name) {
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}
static void write_bytes(const char *name, const void *bytes, size_t n) {
    char path[256];
    FILE *f = fopen(in_folder(path, name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}
/* A file from its header's text and bytes of data: 0, 1, 2, ... */
static size_t make_file(unsigned char *out, const char *header, size_t data) {
    size_t n = strlen(header);
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)((uint64_t)n >> 8 * i);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data; i++) out[8 + n + i] = (unsigned char)i;
    return 8 + n + data;
}
static void write_tensors(const char *name, const char *header, size_t data) {
    unsigned char bytes[4096];
    assert_true(strlen(header) + data + 8 < sizeof bytes);
    write_bytes(name, bytes, make_file(bytes, header, data));
}
static int files_in_folder(void) {
    DIR *d = opendir(folder);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static ctl_status open_named(const char *name, heard *h, counting *c, ctl_tensors **set) {
    char path[256];
    ctl_place place = {{hear, h}, c ? counting_allocator(c) : &ctl_malloc_allocator};
    *h = (heard){0};
    return ctl_tensors_open(in_folder(path, name), "model.safetensors", place, set);
}

/* ---- reading ---- */
static void reads_what_is_there(void **state) {
    (void)state;
    heard h;
    ctl_tensors *set;
    /* unaligned data, an empty tensor, a scalar, metadata, white space */
    write_tensors("good",
                  "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_"
                  "offsets\":[1,9]},"
                  "\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},"
                  "\"e\":{\"dtype\":\"F16\",\"shape\":[0,3],\"data_offsets\":[9,9]},"
                  "\"i\":{\"data_offsets\":[9,17],\"shape\":[1],\"dtype\":\"I64\"}}   ",
                  17);
    assert_int_equal(open_named("good", &h, NULL, &set), CTL_OK);
    assert_int_equal(ctl_tensors_count(set), 4);
    assert_string_equal(ctl_tensors_at(set, 0)->name, "a");
    const ctl_tensor *b = ctl_tensors_find(set, "b");
    assert_true(b && b->known && b->dtype == CTL_F32 && b->ndims == 2 && b->dims[0] == 2 && b->dims[1] == 1 &&
                b->bytes == 8);
    static const unsigned char bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    assert_memory_equal(b->data, bytes, 8);
    assert_true(ctl_tensors_find(set, "e")->bytes == 0 && !ctl_tensors_find(set, "i")->known);
    assert_true(ctl_tensors_at(set, 0)->ndims == 0 && ctl_tensors_at(set, 0)->bytes == 1);
    assert_null(ctl_tensors_find(set, "c"));
    assert_string_equal(ctl_tensors_metadata(set, "format"), "pt");
    assert_null(ctl_tensors_metadata(set, "author"));
    ctl_tensors_close(set);
    write_tensors("none", "{}", 0);
    assert_int_equal(open_named("none", &h, NULL, &set), CTL_OK);
    assert_true(ctl_tensors_count(set) == 0 && !ctl_tensors_find(set, "a"));
    ctl_tensors_close(set);
}

#define F32(name, shape, offsets)                                                                            \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void faults_have_messages(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *code, *message; /* after "'FOLDER/bad'" */
    } cases[] = {
        {"[]", 0, "E0702", ": its header is not a JSON object: something else stands there (at byte 0)"},
        {"{", 0, "E0702",
         ": its header is not a JSON object: string or '}' expected near end of file (at byte 1)"},
        {"{} x", 0, "E0702", ": its header is not a JSON object: end of file expected near 'x' (at byte 4)"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "E0702", ": its __metadata__ is not an object of strings"},
        {"{\"__metadata__\":[]}", 0, "E0702", ": its __metadata__ is not an object of strings"},
        {"{" F32("a", "[1]", "[0,4]") "," F32("a", "[1]", "[0,4]") "}", 4, "E0702", NULL},
        {"{\"a\":3}", 0, "E0703", ": tensor 'a': its entry is not an object"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "E0703", ": tensor 'a': it has no dtype"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "E0703",
         ": tensor 'a': its dtype 'F33' is not one of the format's"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "E0703",
         ": tensor 'a': its shape is not a list"},
        {"{" F32("a", "[-1]", "[0,4]") "}", 4, "E0703",
         ": tensor 'a': its shape has something that is not a count"},
        {"{" F32("a", "[1.0]", "[0,4]") "}", 4, "E0703",
         ": tensor 'a': its shape has something that is not a count"},
        {"{" F32("a", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "E0703",
         ": tensor 'a': it has more than 8 dimensions"},
        {"{" F32("a", "[4294967296,4294967296]", "[0,4]") "}", 4, "E0703",
         ": tensor 'a': its shape has more elements than there can be"},
        {"{" F32("a", "[4611686018427387904]", "[0,0]") "}", 4, "E0703",
         ": tensor 'a': its shape has more elements than there can be"},
        {"{" F32("a", "[99999999999999999999]", "[0,4]") "}", 4, "E0702", NULL},
        {"{" F32("a", "[1]", "[0]") "}", 4, "E0703",
         ": tensor 'a': its data_offsets are not two byte counts"},
        {"{" F32("a", "[1]", "[-4,0]") "}", 4, "E0703",
         ": tensor 'a': its data_offsets are not two byte counts"},
        {"{" F32("a", "[1]", "[0,\"4\"]") "}", 4, "E0703",
         ": tensor 'a': its data_offsets are not two byte counts"},
        {"{" F32("a", "[1]", "{}") "}", 4, "E0703", ": tensor 'a': its data_offsets are not two byte counts"},
        {"{" F32("a", "[2]", "[0,8]") "}", 4, "E0703",
         ": tensor 'a': its data_offsets 0 to 8 do not lie in the data of 4 bytes"},
        {"{" F32("a", "[2]", "[4,0]") "}", 8, "E0703",
         ": tensor 'a': its data_offsets 4 to 0 do not lie in the data of 8 bytes"},
        {"{" F32("a", "[3]", "[0,8]") "}", 8, "E0703",
         ": tensor 'a': its shape needs 12 bytes of F32, its data_offsets hold 8"},
        {"{" F32("a", "[2]", "[0,8]") "," F32("b", "[1]", "[4,8]") "}", 8, "E0703",
         ": tensor 'b': its bytes overlap those of another tensor"},
        {"{" F32("a", "[1]", "[0,4]") "," F32("b", "[1]", "[6,10]") "}", 10, "E0703",
         ": tensor 'b': there are bytes of no tensor before it"},
        {"{" F32("a", "[1]", "[0,4]") "}", 7, "E0702", " has 3 bytes behind its last tensor"},
        {"{\"a\\u001b[2J\":3}", 0, "E0703", ": tensor 'a?[2J': its entry is not an object"},
    };
    heard h;
    ctl_tensors *set;
    char want[512];
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        write_tensors("bad", cases[i].header, cases[i].data);
        assert_int_equal(open_named("bad", &h, NULL, &set), CTL_ERR_INPUT);
        assert_null(set);
        assert_true(h.n == 1 && h.hint[0]);
        assert_string_equal(h.code, cases[i].code);
        snprintf(want, sizeof want, "'%s/bad'%s", folder, cases[i].message ? cases[i].message : "");
        if (cases[i].message) assert_string_equal(h.message, want);
    }
    /* the length of the header */
    unsigned char bytes[64] = {0};
    static const struct {
        size_t n;
        unsigned char length[8];
        const char *message;
    } lengths[] = {
        {0, {0}, " is too short to have a header"},
        {7, {0}, " is too short to have a header"},
        {20, {13}, " ends within its header"},
        {20, {0, 0xe1, 0xf5, 5}, " ends within its header"},
        {20, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, " says that its header has more than 100 MB"},
    };
    for (size_t i = 0; i < CTL_COUNT(lengths); i++) {
        memcpy(bytes, lengths[i].length, 8);
        write_bytes("bad", bytes, lengths[i].n);
        assert_int_equal(open_named("bad", &h, NULL, &set), CTL_ERR_INPUT);
        snprintf(want, sizeof want, "'%s/bad'%s", folder, lengths[i].message);
        assert_string_equal(h.message, want);
    }
    /* a header of more than 100 MB in a file (of holes) that has as much */
    static const unsigned char large[8] = {1, 0xe1, 0xf5, 5};
    write_bytes("bad", large, 8);
    char path[256];
    assert_int_equal(truncate(in_folder(path, "bad"), 200000000), 0);
    assert_int_equal(open_named("bad", &h, NULL, &set), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "'%s/bad' says that its header has more than 100 MB", folder);
    assert_string_equal(h.message, want);
    /* depth */
    static unsigned char deep[200000];
    memset(deep + 8, '[', sizeof deep - 8);
    memcpy(deep + 8, "{\"a\":", 5);
    for (int i = 0; i < 8; i++) deep[i] = (unsigned char)((sizeof deep - 8) >> 8 * i);
    write_bytes("bad", deep, sizeof deep);
    assert_int_equal(open_named("bad", &h, NULL, &set), CTL_ERR_INPUT);
    assert_non_null(strstr(h.message, "maximum parsing depth reached"));
    assert_int_equal(open_named("absent", &h, NULL, &set), CTL_ERR_IO);
    snprintf(want, sizeof want, "cannot open '%s/absent': No such file or directory", folder);
    assert_string_equal(h.message, want);
}

static void shards_are_checked(void **state) {
    (void)state;
    heard h;
    ctl_tensors *set;
    char path[256], want[512];
    assert_int_equal(mkdir(in_folder(path, "dir"), 0777), 0);
    assert_int_equal(open_named("dir", &h, NULL, &set), CTL_ERR_INPUT);
    snprintf(want, sizeof want,
             "the directory '%s/dir' has neither model.safetensors nor model.safetensors.index.json", folder);
    assert_string_equal(h.message, want);
    write_tensors("dir/s1.safetensors", "{" F32("b", "[1]", "[0,4]") "," F32("a", "[1]", "[4,8]") "}", 8);
    write_tensors("dir/s2.safetensors", "{" F32("c", "[1]", "[0,4]") "}", 4);
    write_tensors("dir/s3.safetensors", "{" F32("a", "[1]", "[0,4]") "}", 4);
    static const struct {
        const char *index, *message; /* after "'FOLDER/dir/" */
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":\"s1.safetensors\",\"c\":\"s2.safetensors\"}}",
         NULL},
        {"{}", "model.safetensors.index.json': tensor '': there is no weight_map"},
        {"{\"weight_map\":{\"a\":1}}",
         "model.safetensors.index.json': tensor 'a': its shard is not the name of a file"},
        {"{\"weight_map\":{\"a\":\"../x\"}}",
         "model.safetensors.index.json': tensor 'a': its shard is not the name of a file"},
        {"{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s1.safetensors\"}}",
         "model.safetensors.index.json': tensor 'c': its shard does not have it"},
        {"{\"weight_map\":{\"b\":\"s1.safetensors\",\"a\":\"s3.safetensors\"}}",
         "s3.safetensors': tensor 'a': another shard has a tensor of this name too"},
    };
    for (size_t i = 0; i < CTL_COUNT(cases); i++) {
        write_bytes("dir/model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        ctl_status status = open_named("dir", &h, NULL, &set);
        assert_int_equal(status, cases[i].message ? CTL_ERR_INPUT : CTL_OK);
        if (status == CTL_OK) {
            assert_int_equal(ctl_tensors_count(set), 3);
            assert_int_equal(((const unsigned char *)ctl_tensors_find(set, "a")->data)[0], 4);
            ctl_tensors_close(set);
        } else if (i != 5) {
            snprintf(want, sizeof want, "'%s/dir/%s", folder, cases[i].message);
            assert_string_equal(h.message, want);
        } else { /* either of the two may be the one named */
            assert_non_null(strstr(h.message, "tensor 'a': another shard has a tensor of this name too"));
        }
    }
    static const char absent[] = "{\"weight_map\":{\"a\":\"s9\"}}";
    write_bytes("dir/model.safetensors.index.json", absent, strlen(absent));
    assert_int_equal(open_named("dir", &h, NULL, &set), CTL_ERR_IO);
}

static void mutants_never_crash(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"}," F32(
        "a.weight", "[2,3]", "[0,24]") ","
                                       "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[24,32]},"
                                       "\"c\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[32,33]}}";
    static const char *const pieces[] = {"-1",
                                         "9223372036854775807",
                                         "18446744073709551616",
                                         "1e9",
                                         "null",
                                         "[",
                                         "]",
                                         "{",
                                         "}",
                                         ",",
                                         "\"a.weight\"",
                                         "\\u0000",
                                         "\xff",
                                         "0",
                                         "24",
                                         "true"};
    unsigned char good[1024], bytes[1200];
    size_t n = make_file(good, header, 33);
    uint32_t random = 20240501;
    int opened = 0;
    for (int round = 0; round < 6000; round++) {
        memcpy(bytes, good, n);
        size_t size = n;
        int changes = 1 + round % 3;
        for (int k = 0; k < changes; k++) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % size, kind = (random >> 3) % 4;
            if (kind == 0) bytes[at] ^= (unsigned char)(1u << (random >> 29));
            if (kind == 1) size = at + 1; /* cut */
            if (kind >= 2) {              /* something else, the length of the header often kept true */
                const char *piece = pieces[(random >> 20) % CTL_COUNT(pieces)];
                size_t m = strlen(piece), over = kind == 2 ? m : 0;
                if (at + over > size || size + m > sizeof bytes) continue;
                if (!over) memmove(bytes + at + m, bytes + at, size - at), size += m;
                memcpy(bytes + at, piece, m);
                if (!over && at >= 8) bytes[0] = (unsigned char)(bytes[0] + m);
            }
        }
        write_bytes("mutant", bytes, size);
        heard h;
        ctl_tensors *set;
        if (open_named("mutant", &h, NULL, &set) == CTL_OK) {
            opened++;
            unsigned sum = 0;
            for (size_t i = 0; i < ctl_tensors_count(set); i++) {
                const ctl_tensor *t = ctl_tensors_at(set, i);
                for (size_t j = 0; j < t->bytes; j++) sum += ((const unsigned char *)t->data)[j];
            }
            assert_true(sum < 255 * sizeof bytes);
            ctl_tensors_close(set);
        } else {
            assert_true(h.n == 1 && h.message[0]);
        }
    }
    assert_true(opened > 100 && opened < 5000); /* some mutants are legal */
}

/* ---- writing ---- */
typedef struct source {
    size_t asked, fail_at;
    int last;
} source;
static ctl_status give(void *ctx, size_t tensor, size_t first, size_t count, void *out) {
    source *s = ctx;
    s->asked++;
    s->last = (int)tensor;
    if (s->fail_at && s->asked == s->fail_at) return CTL_ERR_NUMERIC;
    for (size_t i = 0; i < count; i++) {
        float f = (float)((first + i) % 1000) + (float)tensor * 1000;
        uint16_t half = (uint16_t)(tensor + first + i);
        memcpy((char *)out + i * (tensor == 1 ? 2 : 4), tensor == 1 ? (const void *)&half : &f,
               tensor == 1 ? 2 : 4);
    }
    return CTL_OK;
}
static const ctl_tensor_spec specs[] = {{"z \"quoted\" \\ \n\xc3\xa4 \xff", CTL_F32, 2, {600, 1000}},
                                        {"half", CTL_BF16, 1, {5}},
                                        {"a", CTL_F32, 0, {0}},
                                        {"empty", CTL_F32, 2, {0, 7}}};
static const char *const metadata[][2] = {{"format", "pt"}, {"note", "line\none \"two\""}};

static void writes_what_it_reads(void **state) {
    (void)state;
    char path[256];
    heard h = {0};
    ctl_place place = {{hear, &h}, &ctl_malloc_allocator};
    source s = {0};
    assert_int_equal(ctl_tensors_save(in_folder(path, "out"), specs, 4, metadata, 2, give, &s, place),
                     CTL_OK);
    assert_int_equal(s.asked, 5); /* 2.4 MB in three pieces, the scalar, the half; nothing of the empty one */
    ctl_tensors *set;
    assert_int_equal(open_named("out", &h, NULL, &set), CTL_OK);
    assert_int_equal(ctl_tensors_count(set), 4);
    assert_string_equal(ctl_tensors_metadata(set, "note"), "line\none \"two\"");
    const ctl_tensor *z = ctl_tensors_find(set, "z \"quoted\" \\ \n\xc3\xa4 \xef\xbf\xbd"),
                     *half = ctl_tensors_find(set, "half");
    assert_true(z && z->dims[0] == 600 && z->dims[1] == 1000);
    for (size_t i = 0; i < 600000; i++) {
        float f;
        memcpy(&f, (const char *)z->data + 4 * i, 4);
        assert_true(f == (float)(i % 1000));
    }
    static const uint16_t halves[] = {1, 2, 3, 4, 5};
    assert_memory_equal(half->data, halves, 10);
    assert_true(ctl_tensors_find(set, "a")->ndims == 0 && ctl_tensors_find(set, "empty")->bytes == 0);
    ctl_tensors_close(set);
    /* the header itself: f32 before bf16, then by name; the data begin at a multiple of 8 */
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    unsigned char head[600];
    assert_int_equal(fread(head, 1, sizeof head, f), sizeof head);
    fclose(f);
    size_t length = head[0] + 256u * head[1];
    assert_int_equal(length % 8, 0);
    static const char want[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"note\":\"line\\none \\\"two\\\"\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[4,4]},"
        "\"z \\\"quoted\\\" \\\\ \\n\xc3\xa4 "
        "\xef\xbf\xbd\":{\"dtype\":\"F32\",\"shape\":[600,1000],\"data_offsets\":[4,2400004]},"
        "\"half\":{\"dtype\":\"BF16\",\"shape\":[5],\"data_offsets\":[2400004,2400014]}}";
    assert_true(length >= sizeof want - 1 && length < sizeof want + 7);
    assert_memory_equal(head + 8, want, sizeof want - 1);
}

static void expect_out_intact(int files) {
    heard h;
    ctl_tensors *set;
    assert_int_equal(open_named("out", &h, NULL, &set), CTL_OK);
    assert_int_equal(ctl_tensors_count(set), 4);
    ctl_tensors_close(set);
    assert_int_equal(files_in_folder(), files); /* no temporary file is left */
}

static void failed_writes_lose_nothing(void **state) {
    (void)state;
    char path[256], want[600];
    heard h = {0};
    ctl_place place = {{hear, &h}, &ctl_malloc_allocator};
    source s = {0};
    in_folder(path, "out");
    assert_int_equal(ctl_tensors_save(path, specs, 4, metadata, 2, give, &s, place), CTL_OK);
    int files = files_in_folder();
    for (size_t n = 1; n <= 5; n++) { /* the caller's own failure */
        s = (source){.fail_at = n};
        assert_int_equal(ctl_tensors_save(path, specs, 4, NULL, 0, give, &s, place), CTL_ERR_NUMERIC);
        expect_out_intact(files);
    }
    /* a full disk: files may not grow beyond so many bytes */
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limits[] = {0, 7, 100, 1000, 2000000};
    for (size_t i = 0; i < CTL_COUNT(limits); i++) {
        small = old, small.rlim_cur = limits[i];
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        s = (source){0}, h = (heard){0};
        ctl_status status = ctl_tensors_save(path, specs, 4, metadata, 2, give, &s, place);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, CTL_ERR_IO);
        assert_string_equal(h.code, "E0707");
        assert_non_null(strstr(h.message, "File too large"));
        assert_string_equal(h.hint, "files of this size are not allowed here: see ulimit -f");
        expect_out_intact(files);
    }
    signal(SIGXFSZ, handler);
    for (long n = 1;; n++) { /* no memory */
        counting c = {.fail_at = n};
        ctl_place scarce = {{hear, &h}, counting_allocator(&c)};
        s = (source){0};
        ctl_status status = ctl_tensors_save(path, specs, 4, metadata, 2, give, &s, scarce);
        assert_int_equal(c.live, 0);
        expect_out_intact(files);
        if (status == CTL_OK) break;
        assert_int_equal(status, CTL_ERR_MEMORY);
    }
    assert_int_equal(ctl_tensors_save("/nowhere/at/all", specs, 4, NULL, 0, give, &s, place), CTL_ERR_IO);
    assert_int_equal(strncmp(h.message, "cannot create '/nowhere/at/all.tmp-", 35), 0);
    ctl_tensor_spec bad = {"__metadata__", CTL_F32, 1, {3}};
    assert_int_equal(ctl_tensors_save(path, &bad, 1, NULL, 0, give, &s, place), CTL_ERR_INPUT);
    bad = (ctl_tensor_spec){"w", CTL_F64, 2, {INT64_MAX / 8, 9}};
    assert_int_equal(ctl_tensors_save(path, &bad, 1, NULL, 0, give, &s, place), CTL_ERR_INPUT);
    snprintf(want, sizeof want, "the tensor 'w' has a name, type or shape that no file can hold");
    assert_string_equal(h.message, want);
    expect_out_intact(files);
}

static void reading_survives_no_memory(void **state) {
    (void)state;
    heard h;
    ctl_tensors *set;
    int failures = 0;
    static const char index[] = "{\"weight_map\":{\"a\":\"s1.safetensors\",\"c\":\"s2.safetensors\"}}";
    write_bytes("dir/model.safetensors.index.json", index, strlen(index));
    for (long n = 1;; n++) {
        counting c = {.fail_at = n};
        ctl_status status = open_named("dir", &h, &c, &set);
        if (status == CTL_OK) {
            ctl_tensors_close(set);
            assert_int_equal(c.live, 0);
            break;
        }
        assert_int_equal(status, CTL_ERR_MEMORY);
        assert_int_equal(c.live, 0);
        failures++;
    }
    assert_true(failures > 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_there),        cmocka_unit_test(faults_have_messages),
        cmocka_unit_test(shards_are_checked),         cmocka_unit_test(mutants_never_crash),
        cmocka_unit_test(writes_what_it_reads),       cmocka_unit_test(failed_writes_lose_nothing),
        cmocka_unit_test(reading_survives_no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
