# A small vision transformer on small images: 8 x 8 pixels of one channel, in 16 patches of 2 x 2. All of it is trained; a
# control in the place of `everything` (as in stdlib/tuning.ctl) tunes a published one.
#   ctlc train examples/vit.ctl --data images.npy --labels labels.npy --mean 0.5 --std 0.5 --out vit
import vit

control everything() on vit.classifier {
    train **
}
model small = vit.classifier(; classes = 2, patch = 4, positions = 17, dim = 32, depth = 2, heads = 4, ffn = 64)

tune small with everything() {
    tokens 16 x 16                                 # 16 images of 16 patches a step; the class token is not counted
    adamw(; lr = 3e-3, warmup = 10, clip = 1.0)
}
