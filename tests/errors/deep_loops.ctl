net t(x: d, target: d; d) -> y, loss {
    y <- x
for i0 in 0..1 {
for i1 in 0..1 {
for i2 in 0..1 {
for i3 in 0..1 {
for i4 in 0..1 {
for i5 in 0..1 {
for i6 in 0..1 {
for i7 in 0..1 {
for i8 in 0..1 {
for i9 in 0..1 {
for i10 in 0..1 {
for i11 in 0..1 {
for i12 in 0..1 {
for i13 in 0..1 {
for i14 in 0..1 {
for i15 in 0..1 {
for i16 in 0..1 {
for i17 in 0..1 {
for i18 in 0..1 {
for i19 in 0..1 {
for i20 in 0..1 {
for i21 in 0..1 {
for i22 in 0..1 {
for i23 in 0..1 {
for i24 in 0..1 {
for i25 in 0..1 {
for i26 in 0..1 {
for i27 in 0..1 {
for i28 in 0..1 {
for i29 in 0..1 {
for i30 in 0..1 {
for i31 in 0..1 {
for i32 in 0..1 {
for i33 in 0..1 {
for i34 in 0..1 {
for i35 in 0..1 {
for i36 in 0..1 {
for i37 in 0..1 {
for i38 in 0..1 {
for i39 in 0..1 {
for i40 in 0..1 {
for i41 in 0..1 {
for i42 in 0..1 {
for i43 in 0..1 {
for i44 in 0..1 {
for i45 in 0..1 {
for i46 in 0..1 {
for i47 in 0..1 {
for i48 in 0..1 {
for i49 in 0..1 {
for i50 in 0..1 {
for i51 in 0..1 {
for i52 in 0..1 {
for i53 in 0..1 {
for i54 in 0..1 {
for i55 in 0..1 {
for i56 in 0..1 {
for i57 in 0..1 {
for i58 in 0..1 {
for i59 in 0..1 {
for i60 in 0..1 {
for i61 in 0..1 {
for i62 in 0..1 {
for i63 in 0..1 {
for i64 in 0..1 {
for i65 in 0..1 {
for i66 in 0..1 {
for i67 in 0..1 {
for i68 in 0..1 {
for i69 in 0..1 {
for i70 in 0..1 {
for i71 in 0..1 {
for i72 in 0..1 {
for i73 in 0..1 {
for i74 in 0..1 {
for i75 in 0..1 {
for i76 in 0..1 {
for i77 in 0..1 {
for i78 in 0..1 {
for i79 in 0..1 {
for i80 in 0..1 {
for i81 in 0..1 {
for i82 in 0..1 {
for i83 in 0..1 {
for i84 in 0..1 {
for i85 in 0..1 {
for i86 in 0..1 {
for i87 in 0..1 {
for i88 in 0..1 {
for i89 in 0..1 {
for i90 in 0..1 {
for i91 in 0..1 {
for i92 in 0..1 {
for i93 in 0..1 {
for i94 in 0..1 {
for i95 in 0..1 {
for i96 in 0..1 {
for i97 in 0..1 {
for i98 in 0..1 {
for i99 in 0..1 {
for i100 in 0..1 {
y <- l: linear(x)
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
}
    loss <- mse(y, target)
}
control c() on t {
    train **
}
model m = t(; d = 4)
tune m with c() {
    tokens 2 x 4
}
