for way in all count kind; do
	docker-compose --ansi never --profile "$way" up -d
	meet "$way"
	same 1 sh -c "docker-compose exec -T $way ls /dev | grep -c '^nvidia[0-9]'"
	docker-compose --ansi never --profile "$way" down -t 0
done
