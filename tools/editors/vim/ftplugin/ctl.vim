" ctl: indentation and comments; gq formats by `ctlc fmt`, where ctlc is on the PATH
if exists('b:did_ftplugin')
  finish
endif
let b:did_ftplugin = 1

setlocal expandtab shiftwidth=4 softtabstop=4 textwidth=0
setlocal comments=:# commentstring=#\ %s
setlocal formatprg=ctlc\ fmt\ -
setlocal suffixesadd=.ctl
let b:undo_ftplugin = 'setlocal expandtab< shiftwidth< softtabstop< textwidth< comments< commentstring< formatprg< suffixesadd<'
