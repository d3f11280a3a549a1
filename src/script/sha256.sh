# Sets `sha256` to what prints the SHA-256 of files soonest. openssl uses the processor's own instructions
# for it, and coreutils of many distributions do not: they take seven times as long. It is believed once
# it knows a digest that is known (FIPS 180-4, "abc").
choose_sha256() {
  sha256=sha256sum
  case $(printf abc | openssl dgst -sha256 -r 2>/dev/null) in
    ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad*) sha256='openssl dgst -sha256 -r' ;;
  esac
}
# Prints `DIGEST NAME` of each file that the input names.
sha256_of() {
  # shellcheck disable=SC2086 # a program and its arguments
  xargs -r $sha256 | sed 's/ [ *]/ /'
}
