import lama
