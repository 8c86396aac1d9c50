" Vim itself takes *.ctl for Visual Basic: `setfiletype` would leave it so.
autocmd BufRead,BufNewFile *.ctl set filetype=ctl
