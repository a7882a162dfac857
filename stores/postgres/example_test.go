package postgres_test

import (
	"context"
	"log"
	"net/http"

	"github.com/go-holdoff/holdoff"
	"github.com/go-holdoff/holdoff/stores/postgres"
	"github.com/jackc/pgx/v5/pgxpool"
)

func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://app@db.internal/app?pool_max_conns=20")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	store, err := postgres.New(ctx, pool, postgres.Options{Namespace: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	client := &http.Client{Transport: &holdoff.Transport{Store: store}}
	resp, err := client.Get("https://api.example.com/invoices")
	if err != nil {
		log.Print(err)
		return
	}
	resp.Body.Close()
}
