module postern/bench

go 1.21
