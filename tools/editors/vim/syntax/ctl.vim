" ctl: the language of ctlc (docs/language.md). Keywords are words of position, so they are matched with their place.
if exists('b:current_syntax')
  finish
endif

syntax case match
syntax iskeyword @,48-57,_

" What is found later in this file goes before what is found earlier, where both begin at one place.
syntax match ctlIllegal /[^[:space:][:alnum:]_]/
syntax match ctlPunctuation /[][(){},;:.]/
syntax match ctlOperator /[-+*\/%@^<>=]\|==\|!=\|<=\|>=\|\.\./
syntax match ctlArrow /<-\|->\|=>\|\~/
syntax match ctlWord /\<[A-Za-z_]\w*\>/
syntax match ctlFunction /\<[A-Za-z_]\w*\ze\s*(/
syntax match ctlBuiltin /\<\%(exp\|log\|sqrt\|rsqrt\|sin\|cos\|tanh\|erf\|max\|min\|sum\|mean\|softmax\|drop\|stop\|attend\|take\|split\|join\|columns\|cat\|rows\|cols\|index\|position\|length\|eye\|cross_entropy\|mse\|first\|pool\|prepend\|mix\|top\|normal\|uniform\)\ze\s*(/
syntax match ctlLabel /\<[A-Za-z_]\w*\ze\%(\.\w\+\|\[[^]]*\]\)*:\s/
syntax match ctlConstant /\<\%(true\|false\|pi\)\>\%(\s*[.(\[:]\)\@!/
syntax match ctlMember /\%(\w\|[])}*]\)\@1<=\.[A-Za-z_]\w*/
syntax match ctlPattern /\*\*\|\[\*\]/
syntax match ctlBadNumber /\<\d\+\h\w*\|\%(\w\|\.\)\@1<!\.\d\+/
syntax match ctlNumber /\<\d\+\%(\.\d\+\)\=\%([eE][-+]\=\d\+\)\=\>/
syntax match ctlLogic /\<\%(and\|or\|not\)\>/

" Statements
syntax match ctlStatement /\%(^\|[{;]\)\@1<=\s*\zsweight\ze\s\+[A-Za-z_*]/
syntax match ctlStatement /\%(^\|[{;]\)\@1<=\s*\zs\%(train\|freeze\)\ze\s\+[A-Za-z_*]/
syntax match ctlForWord /\%(^\|[{;]\)\@1<=\s*\zsfor\ze\s\+\h\w*\s\+in\>/ nextgroup=ctlForName skipwhite
syntax match ctlForName /\<\h\w*/ contained nextgroup=ctlInWord skipwhite
syntax match ctlInWord /\<in\>/ contained
syntax match ctlConditional /\%(^\|[{;]\)\@1<=\s*\zsif\>\ze.*{/
syntax match ctlConditional /\<else\>\%(\s\+if\>\)\=/
syntax match ctlInit /\]\@1<=\s*\zsinit\>/
syntax match ctlOn /)\@1<=\s*\zson\>\ze\s\+\h/
syntax match ctlPer /\<per\ze\s\+sequence\>/

" Settings of a tune block, and what else stands in its line
syntax match ctlSetting /\%(^\|[{;]\)\@1<=\s*\zs\%(tokens\|compute\|memory\|store\)\ze\s\+[A-Za-z0-9_*]/
syntax match ctlSetting /\d\@1<=\s*\zs\%([KMG]i\=B\|B\)\>/
syntax match ctlSetting /\%(tokens\s\+\d\+\s*\)\@20<=\%(x\|packed\>\)/
syntax match ctlNumber /\%(tokens\s\+\)\@20<=\d\+/
syntax match ctlNumber /\%(memory\s\+\)\@20<=\d\+\%(\.\d\+\)\=/
syntax match ctlNumber /\%(tokens\s\+\d\+\s*x\s*\)\@40<=\d\+/
syntax match ctlSetting /\<as\ze\s\+\w\+\s*\%($\|[#;}]\)/
syntax match ctlPer /[A-Za-z0-9_]\@1<=\s\+\zsper\>\ze\s\+sequence\>/
syntax match ctlWith /[A-Za-z0-9_\]]\@1<=\s\+\zswith\>\ze\s\+\h/

" Declarations
syntax match ctlDeclaration /^\s*\zs\%(fn\|net\|control\)\>\ze\s\+\h\w*\s*(/ nextgroup=ctlName skipwhite
syntax match ctlDeclaration /^\s*\zsmodel\>\ze\s\+\h\w*\s*=/ nextgroup=ctlName skipwhite
syntax match ctlDeclaration /^\s*\zstune\>\ze\s\+\h/ nextgroup=ctlTuneName skipwhite
syntax match ctlDeclaration /^\s*\zsimport\>\ze\s\+\h/
syntax match ctlName /\<\h\w*/ contained
syntax match ctlTuneName /\<\h\w*\ze\s*=/ contained

syntax match ctlComment /#.*$/ contains=@Spell,ctlTodo
syntax keyword ctlTodo TODO FIXME contained

highlight default link ctlIllegal Error
highlight default link ctlBadNumber Error
highlight default link ctlOperator Operator
highlight default link ctlArrow Special
highlight default link ctlFunction Function
highlight default link ctlBuiltin Function
highlight default link ctlLabel Label
highlight default link ctlConstant Constant
highlight default link ctlPattern Special
highlight default link ctlNumber Number
highlight default link ctlLogic Keyword
highlight default link ctlStatement Statement
highlight default link ctlForWord Repeat
highlight default link ctlInWord Repeat
highlight default link ctlConditional Conditional
highlight default link ctlInit Keyword
highlight default link ctlOn Keyword
highlight default link ctlWith Keyword
highlight default link ctlPer Keyword
highlight default link ctlSetting Keyword
highlight default link ctlDeclaration Structure
highlight default link ctlName Identifier
highlight default link ctlTuneName Identifier
highlight default link ctlComment Comment
highlight default link ctlTodo Todo

let b:current_syntax = 'ctl'
